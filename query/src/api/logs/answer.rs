use std::fmt::Write;
use std::time::Duration;

use trivium_storage::attributes::write_string;

use crate::log_search::severity::CLASSES;
use crate::log_search::{Field, Histogram, SearchAnswer, ValueCounts};

/// The answer as JSON. Counts are JSON numbers; everything that comes from records follows the conventions of the API.
pub(super) fn render(answer: &SearchAnswer, facet_values: usize, elapsed: Duration) -> String {
    let mut output = String::with_capacity(answer.records.iter().map(|record| record.len() + 1).sum::<usize>() + 1_024);
    output.push_str("{\"logs\":[");
    separated(&mut output, &answer.records, |output, record| output.push_str(record));
    output.push_str("],\"next_cursor\":");
    match &answer.next_cursor {
        Some(cursor) => append(&mut output, format_args!("\"{cursor}\"")),
        None => output.push_str("null"),
    }
    append(&mut output, format_args!(",\"matched\":{},\"matched_exact\":{}", answer.matched, answer.matched_exact));
    if let Some(histogram) = &answer.histogram {
        output.push_str(",\"histogram\":");
        write_histogram(&mut output, histogram);
    }
    if !answer.facets.is_empty() {
        output.push_str(",\"facets\":{");
        separated(&mut output, &answer.facets, |output, facet| write_facet(output, facet, answer, facet_values));
        output.push('}');
    }
    append(
        &mut output,
        format_args!(
            ",\"rows_read\":{},\"elapsed_ms\":{:.3},\"partial\":{},\"warnings\":[",
            answer.rows_read,
            elapsed.as_secs_f64() * 1e3,
            answer.partial
        ),
    );
    separated(&mut output, &answer.warnings, |output, warning| write_string(output, warning));
    output.push_str("]}");
    output
}

/// `{"interval":"NANOSECONDS","buckets":[{"time":"…","count":5,"severities":{"info":4,"error":1}}]}`, empty buckets and
/// classes left out.
fn write_histogram(output: &mut String, histogram: &Histogram) {
    append(output, format_args!("{{\"interval\":\"{}\",\"buckets\":[", histogram.width));
    let buckets: Vec<_> = histogram.buckets().collect();
    separated(output, &buckets, |output, (time, counts)| {
        let total: u64 = counts.iter().sum();
        append(output, format_args!("{{\"time\":\"{time}\",\"count\":{total},\"severities\":{{"));
        let found: Vec<_> = CLASSES.iter().zip(counts.iter()).filter(|(_, count)| **count > 0).collect();
        separated(output, &found, |output, (class, count)| append(output, format_args!("\"{class}\":{count}")));
        output.push_str("}}");
    });
    output.push_str("]}");
}

fn write_facet(output: &mut String, facet: &(Field, ValueCounts), answer: &SearchAnswer, values_max: usize) {
    let (field, counts) = facet;
    write_string(output, &field.to_string());
    output.push_str(":{\"values\":[");
    let values = counts.most_frequent(values_max);
    separated(output, &values, |output, (value, count)| {
        output.push_str("{\"value\":");
        write_string(output, value);
        append(output, format_args!(",\"count\":{count}}}"));
    });
    let missing = answer.matched.saturating_sub(counts.total());
    let (distinct, estimated) = (counts.distinct(), counts.is_estimated() || answer.partial);
    append(output, format_args!("],\"distinct\":{distinct},\"missing\":{missing},\"estimated\":{estimated}}}"));
}

fn separated<T>(output: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            output.push(',');
        }
        write(output, item);
    }
}

fn append(output: &mut String, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a String cannot fail");
}
