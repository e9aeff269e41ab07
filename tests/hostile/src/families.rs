//! The catalogue of bad input: every family, and where it is tested.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cases;

/// How a family is covered besides by cases here.
#[derive(Clone, Copy, Debug)]
enum Cover {
    /// By cases of `src/cases` alone.
    Cases,
    /// By these tests too, or by them alone: file and function.
    Tests(&'static [(&'static str, &'static str)]),
    /// Not at all, for this reason.
    Absent(&'static str),
}

use Cover::{Absent, Cases, Tests};

const BAD_INPUT: &str = "ingest/tests/otlp_conformance/bad_input.rs";
const GRPC: &str = "ingest/tests/otlp_conformance/grpc.rs";
const HTTP: &str = "ingest/tests/otlp_conformance/http.rs";
const PRESSURE: &str = "ingest/tests/otlp_conformance/pressure.rs";
const HERE: &str = "tests/hostile/src/pressure.rs";
const SEND: &str = "query/notify/src/send/tests.rs";
const POLICY: &str = "query/notify/src/send/policy.rs";

const CREDENTIALS: &str = "tests/hostile/src/credentials.rs";
const AUTHENTICATOR: &str = "proto/auth/src/authenticator/tests.rs";
const JWT: &str = "proto/auth/src/jwt/tests.rs";
const OIDC: &str = "proto/auth/src/oidc/tests.rs";

/// All of them, as the catalogue orders them.
const FAMILIES: [(&str, Cover); 120] = [
    ("T1", Cases),
    ("T2", Cases),
    ("T3", Tests(&[(BAD_INPUT, "unknown_content_types_are_415")])),
    ("T4", Cases),
    ("T5", Tests(&[(BAD_INPUT, "the_size_limit_holds_on_the_wire"), (GRPC, "the_size_limit_is_not_retryable")])),
    ("T6", Tests(&[(BAD_INPUT, "the_size_limit_holds_after_decompression")])),
    ("T7", Cases),
    ("T8", Cases),
    ("T9", Cases),
    ("T10", Cases),
    ("T11", Tests(&[(BAD_INPUT, "slow_and_broken_bodies")])),
    ("T12", Tests(&[(HERE, "a_client_that_leaves_before_the_answer_may_send_again")])),
    ("T13", Tests(&[(BAD_INPUT, "hostile_heads")])),
    ("T14", Tests(&[(BAD_INPUT, "hostile_heads")])),
    ("T15", Tests(&[(PRESSURE, "floods_over_http2_are_cut_off_while_others_are_served")])),
    ("T16", Cases),
    ("T17", Cases),
    ("T18", Tests(&[(GRPC, "deadlines_are_kept")])),
    ("T19", Cases),
    ("T20", Tests(&[(BAD_INPUT, "an_over_long_body_is_refused_unread")])),
    ("T21", Tests(&[(HERE, "connections_that_say_nothing_leave_room_for_others")])),
    (
        "T22",
        Tests(&[
            (HERE, "a_request_that_is_sent_five_times_at_once_is_stored_once"),
            (HTTP, "a_resent_request_is_stored_once"),
        ]),
    ),
    ("T23", Cases),
    ("P1", Cases),
    ("P2", Cases),
    ("P3", Cases),
    ("P4", Cases),
    ("P5", Cases),
    ("P6", Cases),
    ("P7", Cases),
    ("P8", Cases),
    ("P9", Cases),
    ("P10", Cases),
    ("P11", Cases),
    ("P12", Cases),
    ("P13", Cases),
    ("P14", Cases),
    ("P15", Cases),
    ("P16", Cases),
    ("P17", Cases),
    ("L1", Cases),
    ("L2", Cases),
    ("L3", Cases),
    ("L4", Cases),
    ("L5", Cases),
    ("L6", Cases),
    ("S1", Cases),
    ("S2", Cases),
    ("S3", Cases),
    ("S4", Cases),
    ("S5", Cases),
    ("S6", Cases),
    ("S7", Cases),
    ("S8", Cases),
    ("S9", Cases),
    ("S10", Cases),
    ("M1", Cases),
    ("M2", Cases),
    ("M3", Cases),
    ("M4", Cases),
    ("M5", Cases),
    ("M6", Cases),
    ("M7", Cases),
    ("M8", Cases),
    ("M9", Cases),
    ("M10", Cases),
    ("M11", Cases),
    ("M12", Cases),
    ("M13", Cases),
    ("M14", Cases),
    ("M15", Cases),
    ("Q1", Cases),
    ("Q2", Cases),
    ("Q3", Cases),
    ("Q4", Cases),
    ("Q5", Cases),
    ("Q6", Cases),
    ("Q7", Cases),
    ("Q8", Cases),
    ("Q9", Cases),
    ("Q10", Cases),
    ("D1", Cases),
    ("D2", Cases),
    ("D3", Cases),
    ("D4", Cases),
    ("D5", Cases),
    ("D6", Cases),
    ("D7", Cases),
    ("D8", Cases),
    ("D9", Cases),
    ("D10", Cases),
    (
        "D11",
        Tests(&[(HERE, "a_query_ends_when_its_client_is_gone"), (HERE, "many_endless_queries_do_not_stop_ingest")]),
    ),
    ("D12", Cases),
    ("F1", Cases),
    ("F2", Cases),
    ("F3", Cases),
    ("F4", Cases),
    ("F5", Cases),
    ("F6", Cases),
    ("R1", Cases),
    ("R2", Cases),
    ("R3", Cases),
    ("R4", Cases),
    ("R5", Cases),
    (
        "R6",
        Tests(&[(POLICY, "what_is_not_public_is_refused_unless_allowed"), (SEND, "what_is_not_allowed_is_not_asked")]),
    ),
    ("R7", Tests(&[(SEND, "a_receiver_that_is_not_there_may_come_back")])),
    ("N1", Cases),
    ("N2", Tests(&[(CREDENTIALS, "no_header_chooses_a_tenant")])),
    ("N3", Tests(&[(CREDENTIALS, "a_token_for_writing_reads_nothing_and_one_for_reading_writes_nothing")])),
    ("N4", Absent("there is no listener between processes: the server is one process")),
    (
        "A1",
        Tests(&[
            (CREDENTIALS, "guessed_passwords_are_slowed_down_and_the_owner_elsewhere_is_not"),
            (CREDENTIALS, "web_tokens_that_no_issuer_signed_are_refused"),
            (CREDENTIALS, "a_start_with_an_issuer_that_anybody_could_be_is_refused"),
            (AUTHENTICATOR, "what_is_like_a_token_is_none"),
            (JWT, "times_issuer_and_audience_are_checked"),
            (OIDC, "what_the_provider_must_not_say_is_refused"),
        ]),
    ),
    ("A2", Cases),
    ("A3", Cases),
    ("X1", Tests(&[("ui/app/tests/browser.mjs", "hostile telemetry is text where it is shown")])),
    ("X2", Cases),
    ("X3", Absent("nothing is exported as CSV")),
    ("X4", Tests(&[("query/client/src/terminal.rs", "telemetry_cannot_command_the_terminal")])),
    ("X5", Tests(&[(CREDENTIALS, "no_answer_and_no_log_line_has_a_secret")])),
    ("X6", Absent("there is no restore that reads an archive")),
    ("X7", Tests(&[("src/self_telemetry/spans.rs", "own_spans_and_all_within_them_are_not_recorded")])),
];

/// The families by letter, with how many there are of each.
const LETTERS: [(&str, usize); 12] = [
    ("T", 23),
    ("P", 17),
    ("L", 6),
    ("S", 10),
    ("M", 15),
    ("Q", 10),
    ("D", 12),
    ("F", 6),
    ("R", 7),
    ("N", 4),
    ("A", 3),
    ("X", 7),
];

#[test]
fn every_family_of_the_catalogue_is_listed_once() {
    for (letter, count) in LETTERS {
        let found: Vec<&str> =
            FAMILIES.iter().map(|(family, _)| *family).filter(|family| family.starts_with(letter)).collect();
        let expected: Vec<String> = (1..=count).map(|number| format!("{letter}{number}")).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(LETTERS.iter().map(|(_, count)| count).sum::<usize>(), FAMILIES.len());
}

#[test]
fn every_family_is_covered_as_it_says() {
    let with_cases: BTreeSet<&str> = cases::all().iter().map(|case| case.family).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (family, cover) in FAMILIES {
        match cover {
            Cases => assert!(with_cases.contains(family), "{family} has no case"),
            Tests(tests) => {
                for (file, test) in tests {
                    let text = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                    assert!(text.contains(test), "{family}: there is no {test} in {file}");
                }
            }
            Absent(reason) => {
                assert!(!reason.is_empty() && !with_cases.contains(family), "{family} is absent but has cases");
            }
        }
    }
    let listed: BTreeSet<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
    let unknown: Vec<&&str> = with_cases.difference(&listed).collect();
    assert!(unknown.is_empty(), "the catalogue has no {unknown:?}");
}
