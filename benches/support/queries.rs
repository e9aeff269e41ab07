//! The queries of DESIGN.md section 5, each with the check of its answer.

use serde_json::Value;

use crate::truth::{self, Chosen, Condition, Truth, hex};

/// Two words of a record, in any order.
const WORDS: [&str; 2] = ["create", "price"];
/// Two frequent words that never meet in a record: the worst case of an index of blocks.
const APART: [&str; 2] = ["calculate", "nanjing"];
/// Words in a row.
const PHRASE: &str = "Query For Price Config";
/// The literal is `Preserve Account `.
const LITERAL_REGEX: &str = "Preserve Account [a-z]+\\]";
/// No two bytes of a match are known.
const REGEX: &str = "[0-4]{2}:[5-9]{2}\\.[13579]{3} [A-Z]+ ";
/// Whose p99 makes a trace slow.
const SERVICE: &str = "ts-travel-service";

/// Positions in the list of [`conditions`].
const TEXT_ID_HITS: usize = 0;
const WORD_HITS: usize = 1;
const PHRASE_HITS: usize = 2;
const LITERAL_REGEX_HITS: usize = 3;
const REGEX_HITS: usize = 4;
const TRACE_HITS: usize = 5;
const APART_HITS: usize = 6;

/// What is sent.
pub enum Ask {
    Get(String, Vec<(&'static str, String)>),
    Sql(String),
}

type Check<'a> = Box<dyn Fn(&Value) -> Result<String, String> + 'a>;

pub struct Query<'a> {
    pub name: &'static str,
    pub goal: &'static str,
    pub ask: Ask,
    /// Says what was found, or what is wrong.
    pub check: Check<'a>,
    /// Bytes of text that must be looked at, when that is the measure.
    pub bytes_read: Option<u64>,
}

pub fn conditions(chosen: &Chosen) -> Vec<Condition> {
    vec![
        truth::phrase(&chosen.text_id),
        truth::all_words(&WORDS),
        truth::phrase(PHRASE),
        truth::pattern(LITERAL_REGEX),
        truth::pattern(REGEX),
        truth::phrase(&chosen.trace_id),
        truth::all_words(&APART),
    ]
}

pub fn queries<'a>(chosen: &Chosen, truth: &'a Truth) -> Vec<Query<'a>> {
    let mut queries = ids(chosen, truth);
    queries.extend(texts(truth));
    queries.extend(aggregates(truth));
    queries.extend(joins(truth));
    queries
}

fn ids<'a>(chosen: &Chosen, truth: &'a Truth) -> Vec<Query<'a>> {
    let correlate = |id: &str| Ask::Get(format!("/api/v1/correlate/{id}"), Vec::new());
    let direct_spans = truth.spans.iter().filter(|span| hex(&span.trace_id) == chosen.trace_id).count();
    let direct_logs = truth.hits[TRACE_HITS].len();
    let text_hits = &truth.hits[TEXT_ID_HITS];
    let (trace, spans) = truth.trace_of(45);
    let logs = truth.logs.iter().filter(|log| log.trace_id == Some(trace)).count();
    vec![
        Query {
            name: "any ID over all signals: a trace",
            goal: "5 / 20 ms",
            ask: correlate(&chosen.trace_id),
            check: Box::new(move |answer| {
                same("spans", &answer["counts"]["spans"], direct_spans)?;
                same("logs", &answer["counts"]["logs"], direct_logs)?;
                Ok(format!("{direct_spans} spans, {direct_logs} logs"))
            }),
            bytes_read: None,
        },
        Query {
            name: "any ID over all signals: a UUID of log texts",
            goal: "5 / 20 ms",
            ask: correlate(&chosen.text_id),
            check: Box::new(move |answer| {
                // An answer names a thousand rows of a signal at most.
                same("logs", &answer["counts"]["logs"], text_hits.len().min(1_000))?;
                same("spans", &answer["counts"]["spans"], 0)?;
                Ok(format!("{} logs", text_hits.len()))
            }),
            bytes_read: None,
        },
        Query {
            name: "an absent ID",
            goal: "1 ms",
            ask: correlate("0123456789abcdef0123456789abcdef"),
            check: Box::new(|answer| {
                for signal in ["logs", "spans", "exemplars", "traces"] {
                    same(signal, &answer["counts"][signal], 0)?;
                }
                Ok("nothing".into())
            }),
            bytes_read: None,
        },
        search("logs by an ID that is only in the text", "1 / 3 ms", &chosen.text_id, text_hits),
        Query {
            name: "trace by ID",
            goal: "2 / 5 ms",
            ask: Ask::Get(format!("/api/v1/traces/{}", hex(&trace)), Vec::new()),
            check: Box::new(move |answer| {
                let count = |key: &str| answer[key].as_array().map_or(0, Vec::len);
                if (count("spans"), count("logs")) != (spans, logs) {
                    return Err(format!("{} spans and {} logs, not {spans} and {logs}", count("spans"), count("logs")));
                }
                Ok(format!("{spans} spans, {logs} logs"))
            }),
            bytes_read: None,
        },
    ]
}

fn texts(truth: &Truth) -> Vec<Query<'_>> {
    let count_only = |name, goal, pattern: &str, hits: usize, bytes_read| Query {
        name,
        goal,
        // Without a page nothing ends early: every record is judged.
        ask: Ask::Get("/api/v1/logs".into(), vec![("query", format!("/{pattern}/")), ("limit", "0".into())]),
        check: Box::new(move |answer: &Value| {
            same("matched", &answer["matched"], hits)?;
            Ok(format!("{hits} of all logs"))
        }),
        bytes_read,
    };
    vec![
        search("two words, newest 100", "5 / 10 ms", &WORDS.join(" "), &truth.hits[WORD_HITS]),
        search("two frequent words that never meet", "", &APART.join(" "), &truth.hits[APART_HITS]),
        search("a phrase, newest 100", "5 / 10 ms", &format!("\"{PHRASE}\""), &truth.hits[PHRASE_HITS]),
        count_only("regex with a literal", "100 ms", LITERAL_REGEX, truth.hits[LITERAL_REGEX_HITS].len(), None),
        count_only(
            "regex without a literal",
            "0.7 GB/s of text per core",
            REGEX,
            truth.hits[REGEX_HITS].len(),
            Some(truth.text_bytes),
        ),
    ]
}

/// A log search for the newest 100; their times must be the newest of all hits.
fn search<'a>(name: &'static str, goal: &'static str, query: &str, hits: &'a [i64]) -> Query<'a> {
    let mut newest = hits.to_vec();
    newest.sort_unstable_by(|a, b| b.cmp(a));
    newest.truncate(100);
    Query {
        name,
        goal,
        ask: Ask::Get("/api/v1/logs".into(), vec![("query", query.into()), ("limit", "100".into())]),
        check: Box::new(move |answer| {
            let logs = answer["logs"].as_array().ok_or("no logs")?;
            let times: Vec<i64> = logs.iter().filter_map(|log| log["time"].as_str()?.parse().ok()).collect();
            if times != newest {
                return Err(format!("{} records, not the newest {} of {}", times.len(), newest.len(), hits.len()));
            }
            if answer["matched_exact"] == Value::Bool(true) {
                same("matched", &answer["matched"], hits.len())?;
            }
            Ok(format!("newest {} of {}", newest.len(), hits.len()))
        }),
        bytes_read: None,
    }
}

fn aggregates(truth: &Truth) -> Vec<Query<'_>> {
    let facets = "service,level,severity_text,code.namespace,code.lineno,log.iostream,k8s.container.name,event,\
        resource.k8s.pod.name,resource.k8s.node.name,resource.k8s.namespace.name,resource.service.namespace,\
        resource.service.instance.id,resource.deployment.environment.name,severity_number,http.route,\
        http.request.method,http.response.status_code,user.id,order.id";
    let matches = |span: &truth::SpanRow| span.is_post && span.duration >= 100_000_000;
    let newest = truth.newest_traces(matches);
    vec![
        Query {
            name: "severity histogram per minute over everything",
            goal: "40 ms",
            ask: Ask::Get("/api/v1/logs".into(), vec![("interval", "1m".into()), ("limit", "0".into())]),
            check: Box::new(|answer| check_histogram(answer, truth)),
            bytes_read: None,
        },
        Query {
            name: "20 facets at once",
            goal: "400 ms",
            ask: Ask::Get(
                "/api/v1/logs".into(),
                vec![("facets", facets.into()), ("facet_values", "100".into()), ("limit", "0".into())],
            ),
            check: Box::new(|answer| check_facets(answer, truth)),
            bytes_read: None,
        },
        Query {
            name: "trace search by attribute and duration",
            goal: "15 ms",
            ask: Ask::Get(
                "/api/v1/traces".into(),
                vec![
                    ("query", "http.request.method:POST".into()),
                    ("min_duration", "100ms".into()),
                    ("limit", "20".into()),
                ],
            ),
            check: Box::new(move |answer| {
                let traces = answer["traces"].as_array().ok_or("no traces")?;
                let found: Vec<&str> = traces.iter().filter_map(|trace| trace["trace_id"].as_str()).collect();
                let time = |id: &str| newest.iter().find(|(_, trace)| hex(trace) == id).map(|(time, _)| *time);
                // By time, because traces of the same nanosecond may come in any order.
                let times: Vec<Option<i64>> = found.iter().map(|id| time(id)).collect();
                let wanted: Vec<Option<i64>> = newest.iter().take(20).map(|(time, _)| Some(*time)).collect();
                if times != wanted {
                    return Err(format!("{} traces that are not the newest {}", found.len(), wanted.len()));
                }
                Ok(format!("newest {} of {}", wanted.len(), newest.len()))
            }),
            bytes_read: None,
        },
        red(truth),
    ]
}

fn red(truth: &Truth) -> Query<'_> {
    let (groups, spans, errors) = truth.red();
    let sql = "SELECT count(*), sum(requests), sum(errors), min(p50), max(p95), max(p99) FROM (\
        SELECT service_name, name, date_trunc('minute', time) AS minute, count(*) AS requests, \
        sum(CASE WHEN status_code = 2 THEN 1 ELSE 0 END) AS errors, \
        approx_percentile_cont(duration, 0.5) AS p50, approx_percentile_cont(duration, 0.95) AS p95, \
        approx_percentile_cont(duration, 0.99) AS p99 FROM spans GROUP BY service_name, name, minute)";
    let longest = truth.spans.iter().map(|span| span.duration).max().unwrap_or(0);
    Query {
        name: "RED per service, operation and minute over all spans",
        goal: "150 ms",
        ask: Ask::Sql(sql.into()),
        check: Box::new(move |answer| {
            let row = &answer["rows"][0];
            same("groups", &row[0], groups)?;
            same("spans", &row[1], spans)?;
            same("errors", &row[2], errors)?;
            let p99 = number(&row[5]).unwrap_or(f64::NAN);
            if !(p99 > 0.0 && p99 <= longest as f64) {
                return Err(format!("the highest p99 is {}, the longest span takes {longest} ns", row[5]));
            }
            Ok(format!("{groups} groups, highest p99 {:.1} s", p99 / 1e9))
        }),
        bytes_read: None,
    }
}

fn check_histogram(answer: &Value, truth: &Truth) -> Result<String, String> {
    let wanted = truth.histogram();
    let mut found = 0;
    for bucket in answer["histogram"]["buckets"].as_array().ok_or("no histogram")? {
        let time: i64 = bucket["time"].as_str().and_then(|time| time.parse().ok()).ok_or("a bucket without time")?;
        for (class, count) in bucket["severities"].as_object().ok_or("a bucket without severities")? {
            let right =
                wanted.iter().find(|((minute, name), _)| *minute == time && name == class).map(|(_, count)| *count);
            if count.as_u64() != right {
                return Err(format!("{class} in minute {time}: {count}, not {right:?}"));
            }
            found += 1;
        }
    }
    if found != wanted.len() {
        return Err(format!("{found} counts, not {}", wanted.len()));
    }
    Ok(format!("{found} counts"))
}

fn check_facets(answer: &Value, truth: &Truth) -> Result<String, String> {
    let wanted = truth.logs_by_service();
    let facets = answer["facets"].as_object().ok_or("no facets")?;
    let values = facets.get("service").and_then(|facet| facet["values"].as_array()).ok_or("no facet service")?;
    for value in values {
        let name = value["value"].as_str().unwrap_or_default();
        if value["count"].as_u64() != wanted.get(name).copied() {
            return Err(format!("service {name}: {}, not {:?}", value["count"], wanted.get(name)));
        }
    }
    if values.len() != wanted.len() || facets.len() != 20 {
        return Err(format!("{} services and {} facets, not {} and 20", values.len(), facets.len(), wanted.len()));
    }
    Ok(format!("{} services, {} facets", values.len(), facets.len()))
}

fn joins(truth: &Truth) -> Vec<Query<'_>> {
    let service = truth.services.find(SERVICE);
    let durations = truth.durations(service);
    let at = |share: f64| durations[((durations.len() - 1) as f64 * share) as usize];
    // The percentile in SQL is an estimate: the answer lies between those of a lower and of a higher threshold.
    let most = truth.error_logs_of_slow_traces(service, at(0.985));
    let least = truth.error_logs_of_slow_traces(service, at(0.995));
    let slow = format!(
        "SELECT count(*) FROM logs WHERE severity_number >= 17 AND trace_id IN (SELECT trace_id FROM spans WHERE \
         service_name = '{SERVICE}' AND duration > (SELECT approx_percentile_cont(duration, 0.99) FROM spans WHERE \
         service_name = '{SERVICE}'))"
    );
    let threshold = truth.cpu_threshold(20);
    let (minutes, errors, spans) = truth.hot_minutes(threshold);
    let hot = format!(
        "WITH hot AS (SELECT service_name, date_trunc('minute', time) AS minute, max(value) AS cpu FROM metrics WHERE \
         metric_name = 'k8s.pod.cpu.usage' GROUP BY service_name, minute HAVING max(value) > {threshold:?}), \
         errors AS (SELECT service_name, date_trunc('minute', time) AS minute, count(*) AS errors FROM logs WHERE \
         severity_number >= 17 GROUP BY service_name, minute), \
         latency AS (SELECT service_name, date_trunc('minute', time) AS minute, count(*) AS spans, \
         approx_percentile_cont(duration, 0.95) AS p95 FROM spans GROUP BY service_name, minute) \
         SELECT count(*), sum(errors), sum(spans), max(p95) FROM hot JOIN errors USING (service_name, minute) \
         JOIN latency USING (service_name, minute)"
    );
    vec![
        Query {
            name: "error logs of traces slower than a service's p99",
            goal: "100 ms",
            ask: Ask::Sql(slow),
            check: Box::new(move |answer| {
                let count = number(&answer["rows"][0][0]).unwrap_or(f64::NAN) as usize;
                if !(least..=most).contains(&count) {
                    return Err(format!("{count} error logs, not {least} to {most}"));
                }
                Ok(format!("{count} error logs"))
            }),
            bytes_read: None,
        },
        Query {
            name: "CPU-hot minutes x error logs x span p95",
            goal: "500 ms",
            ask: Ask::Sql(hot),
            check: Box::new(move |answer| {
                let row = &answer["rows"][0];
                same("minutes", &row[0], minutes)?;
                if minutes > 0 {
                    same("error logs", &row[1], errors)?;
                    same("spans", &row[2], spans)?;
                }
                Ok(format!("{minutes} minutes, {errors} error logs, {spans} spans"))
            }),
            bytes_read: None,
        },
    ]
}

/// A number of an answer: 64-bit integers are strings there.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn same(what: &str, found: &Value, wanted: usize) -> Result<(), String> {
    if number(found) == Some(wanted as f64) {
        return Ok(());
    }
    Err(format!("{what}: {found}, not {wanted}"))
}
