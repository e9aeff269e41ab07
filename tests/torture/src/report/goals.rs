//! The goals, beside what was reached.

use std::fmt::Write;

use serde_json::Value;

use super::{Last, Measured, grouped, plain};
use crate::run::LANES;
use crate::scenario::crash_points::LANES_DONE;

/// What a run reached, and whether it is what the goal asks for.
struct Reached {
    text: String,
    is_met: bool,
}

/// A goal of the project.
struct Goal {
    name: &'static str,
    measure: &'static str,
    gate: &'static str,
    long: &'static str,
    /// The scenario that measures it; empty when something else does.
    scenario: &'static str,
    judge: fn(&Value, bool) -> Reached,
}

const NOT_HERE: fn(&Value, bool) -> Reached = |_, _| Reached { text: String::new(), is_met: false };

const GOALS: [Goal; 21] = [
    Goal {
        name: "G1",
        measure: "kill -9: acknowledged records lost, duplicate, corrupt",
        gate: "60 cycles: 0, 0, 0",
        long: "1,000 cycles, 50 million records: 0, 0, 0",
        scenario: "kill",
        judge: kill,
    },
    Goal {
        name: "G2",
        measure: "power cuts: acknowledged records lost",
        gate: "100 images: 0",
        long: "2,000 images: 0",
        scenario: "power-cut",
        judge: |outcome, is_long| {
            let images = number(outcome, "cycles");
            let text = format!("{} images: {} lost", grouped(images), lost(outcome));
            Reached { text, is_met: images >= if is_long { 2_000 } else { 100 } && is_clean(outcome) }
        },
    },
    Goal {
        name: "G3",
        measure: "crash points, in process × 4 variants of what reached the disk",
        gate: "all operations",
        long: "all operations",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G3",
        measure: "crash points, through the real binary by strace",
        gate: "a sample: 0 lost",
        long: "every call: 0 lost",
        scenario: "crash-points",
        judge: |outcome, is_long| {
            let points = number(outcome, "cycles");
            let text = format!("{} points: {} lost", grouped(points), lost(outcome));
            let is_enough = if is_long { number(&outcome["figures"], LANES_DONE) >= LANES } else { points >= 20 };
            Reached { text, is_met: is_enough && is_clean(outcome) }
        },
    },
    Goal {
        name: "G4",
        measure: "deterministic simulation: failing seeds",
        gate: "2,000 seeds: 0",
        long: "100,000 seeds: 0",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G5",
        measure: "corruptions: silent wrong answers, panics, undetected",
        gate: "1,000: 0, 0, 0",
        long: "50,000 over 8 kinds of files: 0, 0, 0",
        scenario: "damage",
        judge: |outcome, is_long| {
            let injected = number(outcome, "cycles");
            let wrong = outcome["failures"].as_array().map_or(0, Vec::len);
            let panics = outcome["panics"].as_array().map_or(0, Vec::len);
            let text = format!("{}: {wrong} wrong or undetected, {panics} panics", grouped(injected));
            Reached { text, is_met: injected >= if is_long { 50_000 } else { 1_000 } && is_clean(outcome) }
        },
    },
    Goal {
        name: "G6",
        measure: "five times the load in a memory cgroup: OOM kills, memory, goodput",
        gate: "256 MiB, 60 s: 0, ≤ 80 %, ≥ 70 %",
        long: "512 MiB, 600 s: 0, ≤ 410 MiB, ≥ 80 %; every refusal says when to come back; ack p99 ≤ 1 s; usual ≤ 10 s after",
        scenario: "memory",
        judge: memory,
    },
    Goal {
        name: "G7",
        measure: "replay of a WAL in 512 MiB",
        gate: "–",
        long: "2 GiB: no OOM, ≥ 100 MB/s, ready ≤ 30 s, 503 with Retry-After meanwhile",
        scenario: "replay",
        judge: replay,
    },
    Goal {
        name: "G8",
        measure: "disk full and freed: acknowledged records lost, restarts, corruption",
        gate: "3: 0, 0, 0",
        long: "100: 0, 0, 0; accepted again ≤ 10 s",
        scenario: "disk-full",
        judge: |outcome, is_long| {
            let (cycles, resumed) = (number(outcome, "cycles"), figure(outcome, "resume_ms_max"));
            let text = format!("{cycles}: {} lost, accepted again within {resumed:.0} ms", lost(outcome));
            let is_met = cycles >= if is_long { 100 } else { 3 } && resumed <= 10_000.0 && is_clean(outcome);
            Reached { text, is_met }
        },
    },
    Goal {
        name: "G9",
        measure: "fsync fails at position k: acknowledgements of the failed group",
        gate: "20: 0",
        long: "200: 0",
        scenario: "fsync-eio",
        judge: |outcome, is_long| {
            let positions = number(outcome, "cycles");
            let text = format!("{positions} positions: {} lost", lost(outcome));
            Reached { text, is_met: positions >= if is_long { 200 } else { 20 } && is_clean(outcome) }
        },
    },
    Goal {
        name: "G10",
        measure: "the object store is away: acknowledged records lost, duplicate; the backlog drains",
        gate: "30 s",
        long: "0, 0; drained ≤ 2 × the outage",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G11",
        measure: "Postgres restarts: records lost, duplicate",
        gate: "3",
        long: "40 in 10 min: 0, 0; recovered ≤ 5 s each",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G12",
        measure: "identical requests sent again, also across a kill: stored twice",
        gate: "1,000: 0",
        long: "100,000: 0",
        scenario: "kill",
        judge: |outcome, is_long| {
            let resent = outcome["figures"]["clients"]["resent"].as_u64().unwrap_or(0);
            let resent = resent + number(&outcome["figures"], "retried_after_kill");
            let twice = number(&outcome["verdict"], "duplicate");
            let text = format!("{}: {twice} records twice", grouped(resent));
            Reached { text, is_met: resent >= if is_long { 100_000 } else { 1_000 } && twice == 0 }
        },
    },
    Goal {
        name: "G13",
        measure: "families of bad input that are answered as written",
        gate: "120 of 120",
        long: "120 of 120, and a million random mutants: no crash",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G14",
        measure: "hostile queries: aborts, lateness of the answer, ack p99",
        gate: "50: 0, ≤ 1 s, ≤ 2×",
        long: "the same",
        scenario: "hostile-query",
        judge: |outcome, _| {
            let (asked, slower) = (number(outcome, "cycles"), figure(outcome, "ack_p99_slowdown"));
            let late = figure(outcome, "cancel_lateness_ms_max");
            let (before, during) = (figure(outcome, "ack_p99_ms_before"), figure(outcome, "ack_p99_ms_during"));
            let text = format!(
                "{}: answered at most {late:.0} ms late, ack p99 {slower:.1}× ({before:.1} to {during:.1} ms)",
                grouped(asked)
            );
            Reached { text, is_met: asked >= 50 && late <= 1_000.0 && slower <= 2.0 && is_clean(outcome) }
        },
    },
    Goal {
        name: "G15",
        measure: "fuzz targets: crashes",
        gate: "17 × 5 s: 0",
        long: "17 × 5 min: 0",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G16",
        measure: "soak: growth of memory, open files and threads, loss",
        gate: "–",
        long: "2 h: ≤ 1 MiB/h (95 %), 0, 0, 0",
        scenario: "soak",
        judge: soak,
    },
    Goal {
        name: "G17",
        measure: "routes × credentials: answers that nobody should have got",
        gate: "0",
        long: "0",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G18",
        measure: "payloads of XSS that run, in Chromium",
        gate: "0",
        long: "0",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G19",
        measure: "advisories that are ignored, each with a reason and a date",
        gate: "≤ 3",
        long: "≤ 3",
        scenario: "",
        judge: NOT_HERE,
    },
    Goal {
        name: "G20",
        measure: "what durability costs where fdatasync takes 4 ms: acknowledgements at 60 % of the load it can take, throughput",
        gate: "–",
        long: "p50 ≤ 12 ms, p99 ≤ 40 ms, ≥ 90 % of the throughput without waiting",
        scenario: "ack",
        judge: |outcome, _| {
            let get = |name| figure(outcome, name);
            let text = format!(
                "at {:.0} %: p50 {:.1} ms, p99 {:.1} ms; {:.0} % of the throughput",
                get("load_percent"),
                get("ack_p50_ms"),
                get("ack_p99_ms"),
                get("throughput_percent")
            );
            // The scenario fails where a figure misses its goal.
            Reached { text, is_met: is_clean(outcome) }
        },
    },
];

fn kill(outcome: &Value, is_long: bool) -> Reached {
    let (cycles, acked) = (number(outcome, "cycles"), number(outcome, "records_acked"));
    let verdict = &outcome["verdict"];
    let text = format!(
        "{} cycles, {} records: {}, {}, {}",
        grouped(cycles),
        grouped(acked),
        plain(&verdict["lost"]),
        plain(&verdict["duplicate"]),
        plain(&verdict["corrupt"])
    );
    let is_enough = if is_long { cycles >= 1_000 && acked >= 50_000_000 } else { cycles >= 60 };
    Reached { text, is_met: is_enough && is_clean(outcome) }
}

fn memory(outcome: &Value, is_long: bool) -> Reached {
    let get = |name| figure(outcome, name);
    let (limit, seconds) = (get("limit_mib"), get("overload_seconds"));
    let (rss, percent, goodput) = (get("rss_max_mib"), get("rss_percent_of_limit"), get("goodput_percent"));
    let (kills, mute) = (get("oom_kills"), get("refusals_without_hint"));
    let p99 = outcome["figures"]["overload"]["ack_p99_ms"].as_f64().unwrap_or(f64::MAX);
    let recovery = outcome["figures"]["recovery_ms"].as_f64();
    let text = format!(
        "{limit:.0} MiB, {seconds:.0} s, {:.0} connections: {kills:.0}, {rss:.0} MiB ({percent:.0} %), {goodput:.0} %; \
         {mute:.0} refusals without a hint; ack p99 {p99:.0} ms; usual after {} ms",
        get("connections"),
        recovery.map_or("more than 10,000".to_owned(), |millis| format!("{millis:.0}")),
    );
    let is_met = if is_long {
        limit <= 512.0 && seconds >= 599.0 && rss <= 410.0 && goodput >= 80.0 && p99 <= 1_000.0 && recovery.is_some()
    } else {
        limit <= 256.0 && seconds >= 59.0 && percent <= 80.0 && goodput >= 70.0
    };
    Reached { text, is_met: is_met && kills == 0.0 && mute == 0.0 && is_clean(outcome) }
}

fn replay(outcome: &Value, _: bool) -> Reached {
    let get = |name| figure(outcome, name);
    let (mib, rate, ready) = (get("wal_mib"), get("mib_per_second"), get("ready_after_seconds"));
    let told = get("visitors_told_to_come_back");
    let text = format!(
        "{mib:.0} MiB: {:.0} OOM, {rate:.1} MiB/s, ready after {ready:.1} s, {told:.0} told to come back",
        get("oom_kills")
    );
    let is_met = mib >= 2_048.0 && rate * 1.048_576 >= 100.0 && ready <= 30.0 && told > 0.0;
    Reached { text, is_met: is_met && get("oom_kills") == 0.0 && is_clean(outcome) }
}

fn soak(outcome: &Value, _: bool) -> Reached {
    let get = |name| figure(outcome, name);
    let (seconds, high) = (number_f64(outcome, "seconds"), number_f64(&outcome["figures"]["rss_slope"], "high"));
    let text = format!(
        "{:.1} h: {} MiB/h, {:+.0} files, {:+.0} threads, {} lost",
        seconds / 3_600.0,
        plain(&outcome["figures"]["rss_mib_per_hour"]),
        get("descriptors_drift"),
        get("threads_drift"),
        lost(outcome)
    );
    let is_steady = get("descriptors_drift") <= 0.0 && get("threads_drift") <= 0.0 && high <= 1.0;
    Reached { text, is_met: seconds >= 7_199.0 && is_steady && is_clean(outcome) }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

fn number_f64(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(f64::MAX)
}

fn figure(outcome: &Value, name: &str) -> f64 {
    outcome["figures"][name].as_f64().unwrap_or(0.0)
}

fn lost(outcome: &Value) -> u64 {
    number(&outcome["verdict"], "lost")
}

/// It ran, and nothing failed.
fn is_clean(outcome: &Value) -> bool {
    outcome["failures"].as_array().is_some_and(Vec::is_empty) && !outcome["skipped"].is_string()
}

pub(super) fn table(text: &mut String, measured: &Measured) -> anyhow::Result<()> {
    text.push_str("## Goals\n\n");
    text.push_str("| goal | measure | gate: goal | reached | met | long run: goal | reached | met |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for goal in &GOALS {
        let gate = match goal.gate {
            "–" => ["–".to_owned(), "–".to_owned()],
            _ => cells(goal, measured.gate.get(goal.scenario), measured.extra.get(goal.name), false),
        };
        let extra = measured.extra.get(&format!("{}-long", goal.name));
        let long = cells(goal, measured.long.get(goal.scenario), extra, true);
        let (name, measure) = (goal.name, goal.measure);
        writeln!(
            text,
            "| {name} | {measure} | {} | {} | {} | {} | {} | {} |",
            goal.gate, gate[0], gate[1], goal.long, long[0], long[1]
        )?;
    }
    Ok(())
}

/// What was reached, and whether it is enough.
fn cells(goal: &Goal, last: Option<&Last>, extra: Option<&String>, is_long: bool) -> [String; 2] {
    if goal.scenario.is_empty() {
        return match extra.map(|extra| extra.split_once(':').unwrap_or(("", extra))) {
            Some((word, rest)) if matches!(word.trim(), "met" | "not met") => {
                [rest.trim().to_owned(), verdict(word.trim() == "met")]
            }
            Some(_) => [extra.cloned().unwrap_or_default(), "–".to_owned()],
            None => ["not measured here".to_owned(), "–".to_owned()],
        };
    }
    match last {
        None => ["not run".to_owned(), "–".to_owned()],
        Some(last) if last.outcome["skipped"].is_string() => ["skipped".to_owned(), "–".to_owned()],
        Some(last) => {
            let reached = (goal.judge)(&last.outcome, is_long);
            [reached.text, verdict(reached.is_met)]
        }
    }
}

fn verdict(is_met: bool) -> String {
    if is_met { "yes" } else { "**no**" }.to_owned()
}
