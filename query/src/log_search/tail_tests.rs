use super::super::compile;
use super::super::fixture::{LogRow, PartFolder, batch};
use super::*;

fn snapshot(rows: &[LogRow]) -> Snapshot {
    Snapshot { parts: Vec::new(), buffered: rows.chunks(3).map(batch).collect() }
}

fn bodies(batch: &TailBatch) -> Vec<String> {
    let body = |record: &String| serde_json::from_str::<serde_json::Value>(record).expect("valid JSON")["body"].clone();
    batch.records.iter().map(body).map(|body| body.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn only_what_arrives_after_the_start_is_told_and_only_once() {
    let mut rows = vec![LogRow::new(50, 1, "old match"), LogRow::new(40, 2, "old match")];
    let mut tail = Tail::new(compile("match").expect("a valid query"), &snapshot(&rows)).expect("a tail");
    assert!(tail.poll(&snapshot(&rows)).expect("a look").records.is_empty());
    rows.extend([
        LogRow::new(9, 3, "second match"),
        LogRow::new(8, 3, "first match"),
        LogRow::new(7, 4, "nothing"),
        LogRow::new(1, 5, "third match"),
    ]);
    let batch = tail.poll(&snapshot(&rows)).expect("a look");
    assert_eq!(
        (bodies(&batch), batch.skipped),
        (vec!["first match".into(), "second match".into(), "third match".into()], 0)
    );
    assert!(tail.poll(&snapshot(&rows)).expect("a look").records.is_empty());
    // The buffer was sealed and a new one is empty: nothing comes twice.
    assert!(tail.poll(&snapshot(&[])).expect("a look").records.is_empty());
    rows.push(LogRow::new(0, 6, "fourth match"));
    assert_eq!(bodies(&tail.poll(&snapshot(&rows)).expect("a look")), ["fourth match"]);
}

#[test]
fn what_arrives_with_a_damaged_index_is_told() {
    let folder = PartFolder::new();
    let mut tail = Tail::new(compile("match").expect("a valid query"), &snapshot(&[])).expect("a tail");
    let part = folder.part(&[batch(&[LogRow::new(2, 1, "a match"), LogRow::new(1, 1, "nothing")])]);
    std::fs::write(part.columns_path().with_file_name("text.idx"), b"nonsense").expect("the file is ours");
    let sealed = Snapshot { parts: vec![part], buffered: Vec::new() };
    assert_eq!(bodies(&tail.poll(&sealed).expect("a look")), ["a match"]);
}

#[test]
fn a_flood_is_cut_to_its_newest_records_and_told() {
    let mut tail = Tail::new(compile("*").expect("a valid query"), &snapshot(&[])).expect("a tail");
    let rows: Vec<LogRow> = (1..=1_200_u64).map(|position| LogRow::new(0, position, &position.to_string())).collect();
    let batch = tail.poll(&snapshot(&rows)).expect("a look");
    assert_eq!((batch.records.len(), batch.skipped), (TAIL_ROWS_MAX, 700));
    let bodies = bodies(&batch);
    assert_eq!((bodies.first().map(String::as_str), bodies.last().map(String::as_str)), (Some("701"), Some("1200")));
}
