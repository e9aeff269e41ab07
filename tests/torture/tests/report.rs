//! The binary as tests/run.sh calls it.

use std::process::Command;

const RESULTS: &str = r#"{"commit": "abc1234", "run": "gate", "build": "debug", "outcomes": [
  {"scenario": "kill", "seed": 7, "cycles": 60, "seconds": 120.4, "records_acked": 5000, "panics": [], "failures": [],
   "verdict": {"records": 20000, "lost": 0, "duplicate": 0, "phantom": 0, "corrupt": 0},
   "figures": {"clients": {"ack_p99_ms": 30.21, "resent": 990}, "killed_in_recovery": 6}},
  {"scenario": "damage", "seed": 8, "cycles": 6, "seconds": 2.0, "records_acked": 60, "panics": [], "failures": [],
   "verdict": {"records": 0, "lost": 0, "duplicate": 0, "phantom": 0, "corrupt": 0},
   "figures": {"reactions": {
     "columns.parquet of logs: Cut": {"injected": 3, "found": 3, "reactions": {"partial": 3}},
     "columns.parquet of logs: FlipInside": {"injected": 2, "found": 1, "reactions": {"intact": 1}},
     "format: Cut": {"injected": 1, "found": 0, "reactions": {"refused": 1}}}}},
  {"scenario": "clock", "skipped": "faketime is not installed", "seed": 0, "figures": {}, "failures": []}]}"#;

const NEWER: &str = r#"{"commit": "def5678", "run": "gate", "build": "release", "outcomes": [
  {"scenario": "clock", "seed": 8, "cycles": 3, "seconds": 9.0, "records_acked": 60, "panics": [], "failures": ["a\nb"],
   "verdict": {"records": 240, "lost": 1, "duplicate": 0, "phantom": 0, "corrupt": 0}, "figures": {}}]}"#;

/// A long run of which one of the two lanes came to the end of its calls.
const HALF: &str = r#"{"commit": "abc1234", "run": "long", "build": "release", "outcomes": [
  {"scenario": "crash-points", "seed": 9, "cycles": 700, "seconds": 90.0, "records_acked": 60, "panics": [], "failures": [],
   "verdict": {"records": 240, "lost": 0, "duplicate": 0, "phantom": 0, "corrupt": 0},
   "figures": {"lanes_that_did_every_call": 1}}]}"#;

fn torture(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_torture")).args(arguments).output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_report_is_made_from_results_and_later_ones_win() {
    let folder = std::env::temp_dir().join(format!("trivium-torture-report-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let [first, second] = ["first.json", "second.json"].map(|name| folder.join(name).to_string_lossy().into_owned());
    std::fs::write(&first, RESULTS).expect("written");
    std::fs::write(&second, NEWER).expect("written");
    let (ok, text) = torture(&["report", &first, "--extra", "G4=met: 2,000 seeds, 0 failures"]);
    let kill = "| kill | gate | debug | abc1234 | 60 | 120 | 5,000 | 20,000 | 0 | 0 | 0 | 0 | 0 | passed |";
    assert!(ok && text.contains(kill), "{text}");
    assert!(text.contains("skipped: faketime is not installed"), "{text}");
    assert!(text.contains("- clients: ack p99 ms 30.2, resent 990\n- killed in recovery: 6\n"), "{text}");
    assert!(text.contains("| 60 cycles: 0, 0, 0 | 60 cycles, 5,000 records: 0, 0, 0 | yes |"), "{text}");
    assert!(text.contains("| 1,000: 0 | 990: 0 records twice | **no** |"), "{text}");
    assert!(text.contains("| 2,000 seeds: 0 | 2,000 seeds, 0 failures | yes |"), "{text}");
    let damage = "| columns.parquet of logs | 5 | 1 | 3 | – | – | 4 |";
    assert!(text.contains(damage) && text.contains("| Cut | 4 | – | 3 | – | 1 | 3 |"), "{text}");
    let (_, text) = torture(&["report", &first, &second]);
    assert!(
        text.contains("| clock | gate | release | def5678 | 3 | 9 | 60 | 240 | 1 | 0 | 0 | 0 | 0 | **failed** |"),
        "{text}"
    );
    assert!(text.contains("- **failed**: a b\n") && !text.contains("skipped"), "{text}");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn every_call_is_that_of_every_lane() {
    let path = std::env::temp_dir().join(format!("trivium-torture-half-{}", std::process::id()));
    let report = |text: &str| {
        std::fs::write(&path, text).expect("written");
        torture(&["report", &path.to_string_lossy()]).1
    };
    let (half, whole) = (report(HALF), report(&HALF.replace(": 1}}", ": 2}}")));
    std::fs::remove_file(&path).expect("removed");
    assert!(half.contains("| every call: 0 lost | 700 points: 0 lost | **no** |"), "{half}");
    assert!(whole.contains("| every call: 0 lost | 700 points: 0 lost | yes |"), "{whole}");
}

#[test]
fn a_missing_binary_is_named() {
    let (ok, text) = torture(&["kill", "--binary", "/nonexistent/trivium"]);
    assert!(!ok && text.contains("there is no binary /nonexistent/trivium; build it"), "{text}");
}
