//! The JSON of the HTTP API as an answer that a script can be compared with.

use serde_json::Value as Json;
use trivium_promql::Labels;
use trivium_promql::histogram::RenderedBucket;
use trivium_promql::script::{Answer, RenderedHistogram, SampleValue, TargetSample, TargetSeries, Value};

/// An answer, or the error that the server reports.
pub(super) fn parse(json: &Json) -> Result<Answer, String> {
    if json["status"] != "success" {
        let Some(error) = json["error"].as_str() else { return Err(format!("no answer of Prometheus: {json}")) };
        // The API says which parameter is wrong; scripts know one query only.
        return Err(error.strip_prefix("invalid parameter \"query\": ").unwrap_or(error).to_owned());
    }
    let texts = |name: &str| -> Vec<String> {
        let texts = json[name].as_array().into_iter().flatten();
        texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let value = value(&json["data"]).ok_or_else(|| format!("data that cannot be read: {}", json["data"]))?;
    Ok(Answer { value, warnings: texts("warnings"), infos: texts("infos") })
}

fn value(data: &Json) -> Option<Value> {
    let result = &data["result"];
    Some(match data["resultType"].as_str()? {
        "scalar" => Value::Scalar(number(&result[1])?),
        "string" => Value::String(result[1].as_str()?.to_owned()),
        "vector" => Value::Vector(result.as_array()?.iter().map(sample).collect::<Option<_>>()?),
        "matrix" => Value::Matrix(result.as_array()?.iter().map(series).collect::<Option<_>>()?),
        _ => return None,
    })
}

fn number(json: &Json) -> Option<f64> {
    match json.as_str()? {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        text => text.parse().ok(),
    }
}

fn labels(json: &Json) -> Option<Labels> {
    let members = json.as_object()?;
    let pairs: Option<Vec<(&str, &str)>> =
        members.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
    Some(Labels::new(pairs?))
}

fn sample(json: &Json) -> Option<TargetSample> {
    let value = match json.get("histogram") {
        Some(pair) => SampleValue::Rendered(histogram(&pair[1])?),
        None => SampleValue::Float(number(&json["value"][1])?),
    };
    Some(TargetSample { labels: labels(&json["metric"])?, value })
}

fn series(json: &Json) -> Option<TargetSeries> {
    let pairs = |name: &str| json[name].as_array().into_iter().flatten();
    let mut samples = Vec::new();
    for pair in pairs("values") {
        samples.push((millis(&pair[0])?, SampleValue::Float(number(&pair[1])?)));
    }
    for pair in pairs("histograms") {
        samples.push((millis(&pair[0])?, SampleValue::Rendered(histogram(&pair[1])?)));
    }
    samples.sort_by_key(|(time, _)| *time);
    Some(TargetSeries { labels: labels(&json["metric"])?, samples })
}

#[expect(clippy::cast_possible_truncation, reason = "times in answers are milliseconds")]
fn millis(json: &Json) -> Option<i64> {
    json.as_f64().map(|seconds| (seconds * 1000.0).round() as i64)
}

fn histogram(json: &Json) -> Option<RenderedHistogram> {
    let bucket = |json: &Json| {
        Some(RenderedBucket {
            boundary_rule: u8::try_from(json[0].as_u64()?).ok()?,
            left: number(&json[1])?,
            right: number(&json[2])?,
            count: number(&json[3])?,
        })
    };
    let buckets = json["buckets"].as_array().into_iter().flatten().map(bucket).collect::<Option<_>>()?;
    Some(RenderedHistogram { count: number(&json["count"])?, sum: number(&json["sum"])?, buckets })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read_with_all_that_they_may_hold() {
        let answer =
            parse(&json!({"status": "success", "infos": ["note"], "data": {"resultType": "matrix", "result": [
            {"metric": {"__name__": "a"}, "values": [[1.5, "NaN"], [-3, "+Inf"]],
             "histograms": [[0, {"count": "2", "sum": "1", "buckets": [[3, "-1", "1", "2"]]}]]}]}}))
            .expect("an answer");
        let Value::Matrix(series) = answer.value else { panic!("no matrix") };
        assert_eq!(series[0].samples.iter().map(|sample| sample.0).collect::<Vec<_>>(), [-3_000, 0, 1_500]);
        assert_eq!(answer.infos, ["note"]);
        let error = parse(&json!({"status": "error", "errorType": "bad_data", "error": "no"})).expect_err("an error");
        assert_eq!(error, "no");
    }
}
