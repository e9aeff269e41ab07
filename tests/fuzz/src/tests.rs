use super::*;

use std::time::Duration;

use trivium_mutate::Kind;

/// What the server gives the threads that evaluate queries.
const STACK_BYTES: usize = 8 << 20;

fn check(name: &'static str) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || check_here(name));
    thread.expect("a thread").join().expect("nothing was found");
}

/// A second or two of each target; the inputs are the same in every run.
fn check_here(name: &str) {
    let all = targets();
    let target = all.iter().find(|target| target.name == name).expect("a target of this name");
    let plan = Plan { seed: 1, inputs: target.inputs, time: Duration::from_secs(20), keep: None };
    let outcome = fuzz(target, &plan);
    println!(
        "{name}: {} inputs, {} could be read, the longest took {:?}",
        outcome.tried, outcome.read, outcome.longest
    );
    for found in &outcome.found {
        println!(
            "{name}: {}\n{:?}",
            found.what,
            String::from_utf8_lossy(&found.input).chars().take(2_000).collect::<String>()
        );
    }
    assert!(outcome.found.is_empty(), "{name}: {}", outcome.found[0].what);
    assert!(outcome.read > 0, "{name} could not even read its seeds");
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            let listed: Vec<&str> = targets().iter().map(|target| target.name).collect();
            assert_eq!(listed, tested);
        }
    };
}

targets! {
    otlp_logs otlp_traces otlp_metrics otlp_json remote_write_1 remote_write_2
    exposition_text exposition_openmetrics exposition_protobuf redaction_rules redaction_request
    http_request http_framing tenant_name
    part_columns part_ids part_text wal wal_frames wal_round_trip catalog
    encrypted_file encrypted_request wrapped_key key_file
    promql rule_log_query matchers go_template
    rule_file alertmanager_config slo_file scrape_config outgoing_url sql log_search
}

/// A parser that fails is found, and what is kept is the input that makes it fail.
#[test]
fn what_goes_wrong_is_found() {
    let broken = Target {
        name: "broken",
        kind: Kind::Bytes,
        seeds: vec![b"good".to_vec()],
        run: Box::new(|input| if input.starts_with(b"gooo") { panic!("here") } else { Ok(true) }),
        within: Duration::from_secs(1),
        inputs: 0,
    };
    let plan = Plan { seed: 1, inputs: 1_000_000, time: Duration::from_secs(20), keep: None };
    let outcome = fuzz(&broken, &plan);
    let found = outcome.found.first().expect("one in a few thousand");
    assert!(found.input.starts_with(b"gooo") && found.what == "panic: here", "{found:?}");
    assert_eq!(replay(&broken, &found.input), Err("panic: here".into()));
}
