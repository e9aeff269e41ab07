//! The decoder against the oracle: a day of real data, and random requests.

use std::path::Path;

use proptest::prelude::proptest;
use prost::Message;
use trivium_model::{SignalKind, UnixNanos};

use super::cells::assert_rows;
use super::{NOW, context, oracle, requests};
use crate::decode::{DecodeContext, decode};

/// Decodes a request and compares what comes of it; returns how many rows there are.
fn check(signal: SignalKind, payload: &[u8], context: &DecodeContext) -> u64 {
    let decoded = decode(signal, payload, context).expect("the request is well formed");
    let (rows, refused) = oracle::rows(signal, payload, context);
    assert_rows(decoded.batch.as_ref(), &rows);
    assert_eq!(decoded.accepted, rows.len() as u64);
    let rejected: u64 = decoded.rejected.iter().map(|rejected| rejected.count).sum();
    assert_eq!(rejected, refused, "{:?}", decoded.rejected);
    decoded.accepted
}

#[test]
fn the_whole_trainticket_day_is_what_prost_and_plain_loops_make_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/trainticket-2023-01-29");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let context = DecodeContext { received_at: UnixNanos(NOW), oldest_admitted: UnixNanos::MIN };
    for (signal, expected) in
        [(SignalKind::Logs, 168_597), (SignalKind::Traces, 321_068), (SignalKind::Metrics, 807_801)]
    {
        let bytes = std::fs::read(folder.join(format!("{signal}.otlp.zst"))).expect("the data file");
        let bytes = zstd::decode_all(&bytes[..]).expect("it decompresses");
        let (mut rest, mut accepted) = (&bytes[..], 0);
        while !rest.is_empty() {
            let length = prost::encoding::decode_varint(&mut rest).expect("a length") as usize;
            let (message, after) = rest.split_at(length);
            accepted += check(signal, message, &context);
            rest = after;
        }
        assert_eq!(accepted, expected, "{signal}");
    }
}

/// The rows of a request, whatever the order of its fields.
fn check_orders(signal: SignalKind, request: &impl Message) {
    let payload = request.encode_to_vec();
    check(signal, &payload, &context());
    check(signal, &requests::reordered(signal, &payload, 0), &context());
}

proptest! {
    #[test]
    fn random_logs_are_decoded_as_the_oracle_does(request in requests::logs()) {
        check_orders(SignalKind::Logs, &request);
    }

    #[test]
    fn random_metrics_are_decoded_as_the_oracle_does(request in requests::metrics()) {
        check_orders(SignalKind::Metrics, &request);
    }

    #[test]
    fn random_spans_are_decoded_as_the_oracle_does(request in requests::traces()) {
        check_orders(SignalKind::Traces, &request);
    }
}
