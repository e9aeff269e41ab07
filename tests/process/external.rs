//! The data are the user's: other engines open the Parquet files and see the same rows.

use tempfile::tempdir;

use crate::support::{Server, output_of, python, trainticket};

/// What DuckDB and pandas see, as JSON: counts, a join by trace ID, an attribute.
const SCRIPT: &str = r#"
import duckdb, glob, json, pandas, sys
folder = sys.argv[1]
files = {t: f"{folder}/parts/{s}/*/columns.parquet" for t, s in (("logs", "logs"), ("spans", "traces"), ("metrics", "metrics"))}
one = lambda sql: duckdb.sql(sql).fetchall()[0]
answer = {t: one(f"SELECT count(*) FROM read_parquet('{f}')")[0] for t, f in files.items()}
answer["joined"] = one(f"""SELECT count(*) FROM read_parquet('{files["logs"]}') l
  WHERE EXISTS (SELECT 1 FROM read_parquet('{files["spans"]}') s WHERE s.trace_id = l.trace_id)""")[0]
answer["service"] = one(f"""SELECT count(*) FROM read_parquet('{files["logs"]}')
  WHERE resource->>'$."service.name"' = 'ts-order-service'""")[0]
frame = pandas.concat(pandas.read_parquet(f) for f in sorted(glob.glob(files["spans"])))
answer["pandas"] = len(frame)
answer["slowest"] = int(frame["duration"].max())
print(json.dumps(answer))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_and_pandas_read_the_parts() {
    let (Some(data), Some(mut python)) = (trainticket(), python()) else { return };
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let files = ["logs", "traces", "metrics"].map(|signal| data.join("baseline").join(format!("{signal}.otlp.zst")));
    let files = files.iter().filter(|file| file.exists());
    let mut import = std::process::Command::new(crate::support::BINARY);
    output_of(import.args(["import", "--endpoint", &server.otlp_http]).args(files));
    assert!(server.client().post(format!("{}/v1/metrics", server.otlp_http)).send().await.is_ok());
    let metrics = data.join("metrics.otlp.zst");
    let mut import = std::process::Command::new(crate::support::BINARY);
    output_of(import.args(["import", "--endpoint", &server.otlp_http]).arg(metrics));
    server.flush().await;
    let said = output_of(python.arg("-c").arg(SCRIPT).arg(folder.path()));
    let seen: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    for table in ["logs", "spans", "metrics"] {
        assert_eq!(seen[table], server.number(&format!("SELECT count(*) FROM {table}")).await, "{table}");
    }
    let joined = "SELECT count(*) FROM logs WHERE trace_id IN (SELECT trace_id FROM spans)";
    assert_eq!(seen["joined"], server.number(joined).await);
    let service = "SELECT count(*) FROM logs WHERE resource['service.name'] = 'ts-order-service'";
    assert_eq!(seen["service"], server.number(service).await);
    assert_eq!(seen["pandas"], seen["spans"]);
    assert_eq!(seen["slowest"], server.number("SELECT max(duration) FROM spans").await);
}

/// What DuckDB and pyarrow see in an answer of ours, as JSON.
const ANSWER: &str = r#"
import duckdb, json, pyarrow.parquet, sys
file = sys.argv[1]
rows, least, most = duckdb.sql(f"SELECT count(*), min(n), max(n) FROM read_parquet('{file}')").limit(1).fetchall()[0]
text = duckdb.sql(f"SELECT text FROM read_parquet('{file}') WHERE n = 7").limit(1).fetchall()[0][0]
table = pyarrow.parquet.read_table(file)
notes = pyarrow.parquet.read_metadata(file).metadata
print(json.dumps({"rows": rows, "least": least, "most": most, "text": text, "arrow": table.num_rows,
  "columns": table.column_names, "truncated": notes[b"trivium.truncated"].decode()}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_and_pyarrow_read_an_answer_as_parquet() {
    let Some(mut python) = python() else { return };
    let folder = tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let sql = "WITH digits AS (SELECT v FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS ten(v)) \
               SELECT n, concat('row ', cast(n AS text)) AS text, INTERVAL '1 month' AS gap FROM \
               (SELECT a.v + 10 * b.v + 100 * c.v + 1000 * d.v + 10000 * e.v AS n FROM digits a CROSS JOIN digits b \
                CROSS JOIN digits c CROSS JOIN digits d CROSS JOIN digits e) ORDER BY n";
    let request = server.client().post(format!("{}/api/v1/sql", server.http));
    let request = request.header("accept", "application/vnd.apache.parquet");
    let answer = request.json(&serde_json::json!({ "sql": sql, "max_rows": 40_000 })).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/vnd.apache.parquet");
    let file = folder.path().join("answer.parquet");
    std::fs::write(&file, answer.bytes().await.expect("a body")).expect("the file is written");
    let said = output_of(python.arg("-c").arg(ANSWER).arg(&file));
    let seen: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let expected = serde_json::json!({"rows": 40_000, "least": 0, "most": 39_999, "text": "row 7", "arrow": 40_000,
        "columns": ["n", "text", "gap"], "truncated": "true"});
    assert_eq!(seen, expected);
}
