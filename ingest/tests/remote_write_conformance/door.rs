//! Content types, encodings, statuses, headers.

use std::time::Duration;

use http::{Method, StatusCode};
use prost::Message;
use trivium_ingest::IngestConfig;
use trivium_model::TenantId;
use trivium_proto::prometheus::{Count, Histogram, v1};

use crate::support::{NOW, SNAPPY, Server, V1, V2, compress, count, request_v1, request_v2, samples, series_v1};

fn up() -> v1::WriteRequest {
    request_v1(vec![series_v1(&[("__name__", "up"), ("job", "shop")], &[(1.0, NOW)])])
}

#[tokio::test]
async fn both_versions_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    let first = server.write(V1, &up()).await;
    assert_eq!((first.status, first.written(), first.text.as_str()), (StatusCode::NO_CONTENT, [1, 0, 0], ""));
    let second = server.write(V2, &request_v2()).await;
    assert_eq!((second.status, second.written()), (StatusCode::NO_CONTENT, [1, 0, 0]));
    let named = ("content-type", "application/x-protobuf;proto=prometheus.WriteRequest");
    let body = compress(&request_v1(vec![series_v1(&[("__name__", "down")], &[(1.0, NOW)])]).encode_to_vec());
    // Version 1.0 does not demand the header.
    let third = server.send(Method::POST, &[named], body).await;
    assert_eq!(third.status, StatusCode::NO_CONTENT);
    let empty = server.write(V1, &request_v1(Vec::new())).await;
    assert_eq!((empty.status, empty.written()), (StatusCode::NO_CONTENT, [0, 0, 0]));
    assert_eq!(count(&server.storage), 3);
    assert_eq!(server.metric(r#"trivium_ingest_items_total{signal="metrics"}"#), 3.0);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_headers_and_nothing_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    let good = compress(&up().encode_to_vec());
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let bad = StatusCode::BAD_REQUEST;
    let mut corrupt = good.clone();
    corrupt[0] = b'0';
    let unknown = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v9.Request");
    let long = compress(&vec![0_u8; 65 * 1024 * 1024]);
    // It declares 64 MiB and has eight bytes.
    let lie = vec![0x80, 0x80, 0x80, 0x20, 0, 0, 0, 0];
    for (headers, body, status) in [
        (vec![("content-type", "application/json"), SNAPPY], good.clone(), unsupported),
        (vec![("content-type", "image/png"), SNAPPY], good.clone(), unsupported),
        (vec![unknown, SNAPPY], good.clone(), unsupported),
        (vec![SNAPPY], good.clone(), unsupported),
        (vec![V1, ("content-encoding", "gzip")], good.clone(), unsupported),
        (vec![V1, ("content-encoding", "deflate")], good.clone(), unsupported),
        (vec![V1, ("content-encoding", "identity")], up().encode_to_vec(), unsupported),
        (vec![V1, SNAPPY, SNAPPY], good.clone(), unsupported),
        (vec![V1, SNAPPY], corrupt, bad),
        (vec![V1, SNAPPY], Vec::new(), bad),
        (vec![V1, SNAPPY], compress(&[0xff; 64]), bad),
        (vec![V2, SNAPPY], compress(&[0x2a, 0x7f]), bad),
        (vec![V1, SNAPPY], long, StatusCode::PAYLOAD_TOO_LARGE),
        (vec![V1, SNAPPY], lie, bad),
    ] {
        let reply = server.send(Method::POST, &headers, body).await;
        assert_eq!((reply.status, reply.written()), (status, [0, 0, 0]), "{headers:?}: {}", reply.text);
        assert!(!reply.text.is_empty() && reply.header("content-type").starts_with("text/plain"), "{headers:?}");
    }
    let reply = server.send(Method::GET, &[V1, SNAPPY], Vec::new()).await;
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    assert_eq!(count(&server.storage), 0);
}

#[tokio::test]
async fn the_good_part_of_a_request_is_stored_and_the_rest_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    let bad_histogram = Histogram { count: Some(Count::Int(5)), timestamp: NOW, ..Histogram::default() };
    let request = request_v1(vec![
        series_v1(&[("__name__", "up"), ("job", "shop")], &[(1.0, NOW), (2.0, NOW + 1)]),
        series_v1(&[("instance", "a"), ("job", "cart")], &[(1.0, NOW)]),
        v1::TimeSeries { histograms: vec![bad_histogram], ..series_v1(&[("__name__", "h"), ("job", "cart")], &[]) },
    ]);
    let reply = server.write(V1, &request).await;
    assert_eq!((reply.status, reply.written()), (StatusCode::BAD_REQUEST, [2, 0, 0]));
    for part in [
        "rejected 2 of 4 data points",
        "1 because series has no metric name (for example \"{\\\"instance\\\"",
        "1 because histogram buckets do not add up to its count (for example h: count 5",
    ] {
        assert!(reply.text.contains(part), "{part}: {}", reply.text);
    }
    assert_eq!(count(&server.storage), 2);
    let rejected = server.storage.rejections(TenantId::DEFAULT).await.expect("the table");
    let mut rejected: Vec<(&str, &str, u64)> =
        rejected.iter().map(|one| (one.service.as_str(), one.reason.as_str(), one.count)).collect();
    rejected.sort_unstable();
    let expected =
        [("cart", "histogram buckets do not add up to its count", 1), ("cart", "series has no metric name", 1)];
    assert_eq!(rejected, expected);
    let line = r#"trivium_ingest_rejected_total{signal="metrics",reason="series has no metric name"}"#;
    assert_eq!(server.metric(line), 1.0);
}

#[tokio::test]
async fn a_resent_request_is_stored_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    for _ in 0..3 {
        let reply = server.write(V2, &request_v2()).await;
        assert_eq!((reply.status, reply.written()), (StatusCode::NO_CONTENT, [1, 0, 0]));
    }
    assert_eq!(count(&server.storage), 1);
}

#[tokio::test]
async fn times_before_1970_are_taken_without_retention_and_refused_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let request = request_v1(vec![series_v1(&[("__name__", "up")], &[(1.0, -86_400_000), (2.0, 0)])]);
    let server = Server::start(folder.path()).await;
    assert_eq!(server.write(V1, &request).await.status, StatusCode::NO_CONTENT);
    let expected = [-86_400_000, 0].map(|time| ("up {}".to_owned(), time));
    for _ in 0..2 {
        assert_eq!(samples(&server.storage).into_iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(), expected);
        server.storage.flush().await.expect("published");
    }
    let other = tempfile::tempdir().expect("a folder");
    let config = IngestConfig::new(Some(Duration::from_secs(3_600)), 1 << 20);
    let server = Server::start_with(other.path(), config).await;
    let reply = server.write(V1, &request).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.text.contains("time is older than the retention"), "{}", reply.text);
}

#[tokio::test]
async fn a_stopping_store_asks_to_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    server.storage.close().await;
    let reply = server.write(V1, &up()).await;
    assert_eq!((reply.status, reply.written()), (StatusCode::SERVICE_UNAVAILABLE, [0, 0, 0]));
    assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
}
