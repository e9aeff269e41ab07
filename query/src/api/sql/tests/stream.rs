//! Answers as they go over a socket: what they say of themselves, and how they end.

use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::api::sql_render::HOLD_BYTES;

const LINES: &str = "application/x-ndjson; rows=arrays";
const PARQUET: &str = "application/vnd.apache.parquet";
const NDJSON: &str = "application/x-ndjson";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// More than is held back before the first byte is sent.
const LARGE: &str = "SELECT repeat(name, 100) AS text FROM spans";

/// Gives ten thousand rows at once, and one more never.
const FAILS_LATE: &str = "SELECT repeat(name, 200) AS text FROM spans UNION ALL SELECT cast(count(*) AS text)
    FROM spans a, spans b, spans c WHERE a.duration + b.duration + c.duration = -7";

/// An HTTP/1.1 answer as it came: its head, its body without the framing of chunks, what stood behind the last chunk, and
/// whether there was a last chunk.
struct Raw {
    head: String,
    body: Vec<u8>,
    trailers: String,
    ended: bool,
}

impl Raw {
    async fn ask(state: &Arc<QueryState>, accept: &str, more: &str, body: &Value) -> Self {
        let mut stream = TcpStream::connect(listen(state).await).await.expect("a connection");
        let body = body.to_string();
        let request = format!(
            "POST /api/v1/sql HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\ncontent-length: {}\r\n{more}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let mut bytes = Vec::new();
        // A connection that is broken off may end in an error or in silence.
        drop(stream.read_to_end(&mut bytes).await);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in ASCII");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        Self::dechunk(head, &bytes[end + 4..])
    }

    fn dechunk(head: String, mut rest: &[u8]) -> Self {
        let mut raw = Self { head, body: Vec::new(), trailers: String::new(), ended: false };
        while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal");
            rest = &rest[line + 2..];
            if size == 0 {
                raw.ended = rest.ends_with(b"\r\n");
                raw.trailers = String::from_utf8(rest.to_vec()).expect("trailers in ASCII");
                break;
            }
            raw.body.extend_from_slice(&rest[..size.min(rest.len())]);
            rest = rest.get(size + 2..).unwrap_or_default();
        }
        raw
    }

    fn last_line(&self) -> Value {
        let text = std::str::from_utf8(&self.body).expect("UTF-8");
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }
}

const CLOSE: &str = "connection: close\r\n";
const CLOSE_WITH_TRAILERS: &str = "connection: close, te\r\nte: trailers\r\n";

#[tokio::test]
async fn a_short_answer_says_before_its_rows_what_is_missing() {
    let (_folder, state) = server(QueryConfig::default()).await;
    for (rows, expected) in [(3, "true"), (10_000, "false")] {
        let body = json!({ "sql": "SELECT name FROM spans", "max_rows": rows }).to_string();
        for format in [NDJSON, ARROW, "application/json"] {
            let response = send(&state, format, body.clone()).await;
            assert_eq!(response.headers()["trivium-partial"], expected, "{format}");
            assert_eq!(response.headers()["trivium-max-rows"], rows.to_string());
            let warnings = response.headers()["trivium-warnings"].to_str().expect("ASCII").to_owned();
            assert_eq!(warnings.contains("more than the 3 rows"), rows == 3, "{warnings}");
            let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            if format == ARROW {
                let reader = StreamReader::try_new(bytes.as_ref(), None).expect("a stream");
                let schema = reader.schema();
                assert_eq!(schema.metadata()["trivium.partial"], expected);
                assert_eq!(schema.metadata()["trivium.warnings"], warnings);
                assert_eq!(reader.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), rows);
            }
        }
    }
}

#[tokio::test]
async fn a_long_answer_says_it_in_trailers() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let body = json!({ "sql": LARGE, "max_rows": 9_000 });
    for format in [NDJSON, ARROW] {
        let raw = Raw::ask(&state, format, CLOSE_WITH_TRAILERS, &body).await;
        assert!(raw.head.contains("trailer: trivium-partial, trivium-warnings"), "{}", raw.head);
        assert!(raw.ended && raw.trailers.contains("trivium-partial: true\r\n"), "{}", raw.trailers);
        assert!(raw.trailers.contains("more than the 9000 rows"), "{}", raw.trailers);
        // Who takes no trailers knows the limit that was asked for.
        let raw = Raw::ask(&state, format, CLOSE, &body).await;
        assert!(raw.head.contains("trivium-max-rows: 9000"), "{}", raw.head);
        assert!(raw.ended && raw.trailers == "\r\n", "{}", raw.trailers);
    }
}

#[tokio::test]
async fn nobody_takes_a_cut_answer_for_a_whole_one() {
    let config = QueryConfig { answer_bytes_max: 5 << 20, ..QueryConfig::default() };
    let (_folder, state) = server(config).await;
    let body = json!({ "sql": LARGE });
    for format in [NDJSON, ARROW] {
        let raw = Raw::ask(&state, format, CLOSE_WITH_TRAILERS, &body).await;
        assert!(raw.ended && raw.trailers.contains("cut after 5242880 bytes"), "{}", raw.trailers);
        let raw = Raw::ask(&state, format, CLOSE, &body).await;
        assert!(!raw.ended, "{format}: an answer that lacks rows ended as if it were whole");
        if format == NDJSON {
            let error = raw.last_line()["error"]["message"].to_string();
            assert!(error.contains("cut after 5242880 bytes"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_error_on_the_way_breaks_the_answer_off() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let body = json!({ "sql": FAILS_LATE, "timeout": "2s", "max_rows": 20_000 });
    let raw = Raw::ask(&state, NDJSON, CLOSE, &body).await;
    assert!(raw.head.starts_with("HTTP/1.1 200 ") && !raw.ended && raw.body.len() > HOLD_BYTES, "{}", raw.head);
    assert!(raw.last_line()["error"]["message"].to_string().contains("cancelled after 2s"), "{}", raw.last_line());
    let raw = Raw::ask(&state, ARROW, CLOSE_WITH_TRAILERS, &body).await;
    assert!(raw.head.starts_with("HTTP/1.1 200 ") && !raw.ended && raw.body.len() > HOLD_BYTES, "{}", raw.head);
    let raw = Raw::ask(&state, "application/json", CLOSE, &body).await;
    let answer: Value = serde_json::from_slice(&raw.body).expect("JSON");
    assert!(raw.ended && answer["error"]["message"].to_string().contains("cancelled after 2s"));
}

#[tokio::test]
async fn lines_begin_with_the_columns_come_at_once_and_say_how_they_end() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let body = json!({ "sql": "SELECT trace_id, duration FROM spans ORDER BY duration LIMIT 1000", "max_rows": 600 });
    let raw = Raw::ask(&state, LINES, CLOSE, &body).await;
    assert!(raw.ended && raw.head.contains("content-type: application/x-ndjson; rows=arrays"), "{}", raw.head);
    let text = String::from_utf8(raw.body.clone()).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines[0]["columns"],
        json!([{"name": "trace_id", "type": "hex"}, {"name": "duration", "type": "int64"}])
    );
    assert_eq!(lines[1], json!([trace_id(0), "0"]));
    assert_eq!(lines.len(), 602);
    assert_eq!((&lines[601]["row_count"], &lines[601]["truncated"]), (&json!(600), &json!(true)));

    // The rows that are there are shown although others never come.
    let body = json!({ "sql": FAILS_LATE, "timeout": "2s", "max_rows": 20_000 });
    let raw = Raw::ask(&state, LINES, CLOSE, &body).await;
    assert!(raw.head.starts_with("HTTP/1.1 200 ") && raw.ended, "{}", raw.head);
    assert!(raw.last_line()["error"]["message"].to_string().contains("cancelled after 2s"), "{}", raw.last_line());
    // What fails before the first row has its status.
    let raw = send(&state, LINES, json!({ "sql": "SELECT nothing FROM spans" }).to_string()).await;
    assert_eq!(raw.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn parquet_is_a_file_and_one_that_broke_off_is_none() {
    let (_folder, state) = server(QueryConfig::default()).await;
    let sql =
        "SELECT trace_id, time, duration, name, attributes, INTERVAL '1 month' AS gap FROM spans ORDER BY duration";
    let response = send(&state, PARQUET, json!({ "sql": sql }).to_string()).await;
    assert_eq!(response.headers()[CONTENT_TYPE], PARQUET);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a Parquet file");
    let notes = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    assert!(notes.iter().any(|note| note.key == "trivium.truncated" && note.value.as_deref() == Some("false")));
    let batches: Vec<RecordBatch> = reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
    let durations = batches[0].column_by_name("duration").expect("a column");
    let durations = durations.as_any().downcast_ref::<Int64Array>().expect("whole numbers");
    assert_eq!((durations.value(0), durations.value(7)), (0, 7));

    let body = json!({ "sql": FAILS_LATE, "timeout": "2s", "max_rows": 20_000 });
    let response = send(&state, PARQUET, body.to_string()).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "nothing was sent yet");
}
