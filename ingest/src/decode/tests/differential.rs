//! The decoder against the oracle: a day of real data, and random requests in both encodings.

use std::path::Path;

use proptest::prelude::proptest;
use prost::Message;
use trivium_model::{SignalKind, UnixNanos, WireFormat};

use super::cells::assert_rows;
use super::{NOW, context, oracle, otlp_json, requests};
use crate::decode::{DecodeContext, decode, json_to_protobuf};

/// Decodes a request and compares what comes of it; returns how many rows there are.
fn check(signal: SignalKind, payload: &[u8], context: &DecodeContext) -> u64 {
    let decoded = decode(signal, WireFormat::Otlp, payload, context).expect("the request is well formed");
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

/// Both encodings of a request give the rows of the oracle.
fn check_both<R: Message + Default>(signal: SignalKind, request: &R, json: fn(&R) -> serde_json::Value) {
    let payload = request.encode_to_vec();
    // prost leaves out a -0 where 0 is the default.
    let json = json(&R::decode(&payload[..]).expect("its own bytes"));
    check(signal, &payload, &context());
    check(signal, &requests::reordered(signal, &payload, 0), &context());
    let json = json.to_string();
    let transcoded = json_to_protobuf(signal, json.as_bytes()).expect("valid OTLP/JSON");
    let (left, right) = (
        decode(signal, WireFormat::Otlp, &payload, &context()),
        decode(signal, WireFormat::Otlp, &transcoded, &context()),
    );
    let (left, right) = (left.expect("well formed"), right.expect("well formed"));
    let (rows, _) = oracle::rows(signal, &payload, &context());
    assert_rows(right.batch.as_ref(), &rows);
    assert_eq!((left.rejected, left.sanitized), (right.rejected, right.sanitized));
}

proptest! {
    #[test]
    fn random_logs_are_decoded_as_the_oracle_does(request in requests::logs()) {
        check_both(SignalKind::Logs, &request, otlp_json::logs);
    }

    #[test]
    fn random_metrics_are_decoded_as_the_oracle_does(request in requests::metrics()) {
        check_both(SignalKind::Metrics, &request, otlp_json::metrics);
    }

    #[test]
    fn random_spans_are_decoded_as_the_oracle_does(request in requests::traces()) {
        check_both(SignalKind::Traces, &request, otlp_json::traces);
    }
}
