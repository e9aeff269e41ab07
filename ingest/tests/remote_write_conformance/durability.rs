//! What was acknowledged is there again, bit by bit, after a restart, in parts, and after a merge.

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use trivium_proto::prometheus::{BucketSpan, Count, Histogram, v1};

use crate::support::{NOW, Server, V1, V2, open, request_v1, request_v2, rows, samples, series_v1};

const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Quiet, signalling, negative, with a payload; zeroes and infinities.
const BITS: [u64; 8] = [
    0x7ff8_0000_0000_0001,
    0x7ff8_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0xfff8_0000_dead_beef,
    0x8000_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0x0000_0000_0000_0001,
    STALE,
];

/// A request whose samples differ from those of other rounds by their times; -0 is sent by hand, prost leaves it out.
fn request(round: i64) -> v1::WriteRequest {
    let values: Vec<(f64, i64)> = BITS
        .iter()
        .enumerate()
        .filter(|(_, bits)| **bits != 1 << 63)
        .map(|(index, bits)| (f64::from_bits(*bits), NOW + 100 * round + index as i64))
        .collect();
    let histogram = Histogram {
        count: Some(Count::Float(1.5)),
        sum: 0.25,
        schema: 2,
        positive_spans: vec![BucketSpan { offset: -3, length: 1 }],
        positive_counts: vec![1.5],
        timestamp: NOW + 100 * round,
        ..Histogram::default()
    };
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    let trace = label("trace_id", "0af7651916cd43dd8448eb211c80319c");
    let exemplar = v1::Exemplar { labels: vec![trace], value: 0.5, timestamp: NOW };
    request_v1(vec![
        v1::TimeSeries {
            exemplars: vec![exemplar],
            ..series_v1(&[("__name__", "bits"), ("instance", "a"), ("job", "shop")], &values)
        },
        v1::TimeSeries { histograms: vec![histogram], ..series_v1(&[("__name__", "latency"), ("job", "shop")], &[]) },
    ])
}

#[tokio::test]
async fn a_restart_replays_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = {
        let server = Server::start(folder.path()).await;
        assert_eq!(server.write(V1, &request(0)).await.written(), [7, 1, 1]);
        assert_eq!(server.write(V2, &request_v2()).await.written(), [1, 0, 0]);
        rows(&server.storage)
    };
    // Nothing was flushed or closed: all of it comes from the WAL.
    let storage = open(folder.path()).await;
    assert_eq!(format!("{before:?}"), format!("{:?}", rows(&storage)));
    assert_eq!(before.len(), 2);
    assert_eq!(before[1].column_by_name("description").expect("a column").null_count(), 0);
}

#[tokio::test]
async fn every_bit_of_a_value_survives_wal_parts_and_compaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    for round in 0..4 {
        assert_eq!(server.write(V1, &request(round)).await.written(), [7, 1, 1]);
        let before = samples(&server.storage);
        server.storage.flush().await.expect("published");
        assert_eq!(samples(&server.storage), before);
        assert_eq!(server.storage.parts().len(), [1, 2, 3, 1][round as usize], "four small parts are merged");
    }
    let before = samples(&server.storage);
    for (name, _, bits, flags) in before.iter().filter(|row| row.0.starts_with("bits")) {
        assert_eq!(
            (name.as_str(), bits.is_some(), *flags),
            (r#"bits {"instance":"a","job":"shop"}"#, *flags == 0, *flags)
        );
    }
    for expected in BITS.iter().filter(|bits| ![STALE, 1 << 63].contains(*bits)) {
        assert_eq!(before.iter().filter(|row| row.2 == Some(*expected)).count(), 4, "{expected:x}");
    }
    assert_eq!(before.iter().filter(|row| row.3 == 1 && row.2.is_none()).count(), 4, "the stale markers");
    let with_histogram = rows(&server.storage)
        .iter()
        .filter(|batch| batch["positive_counts_float"].null_count() < batch.num_rows())
        .count();
    assert!(with_histogram > 0);
}

/// The samples of a rule over metrics of OTLP carry the `job` that those have: they belong to the same service.
#[tokio::test]
async fn a_namespace_is_no_part_of_a_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    // The second time the codes come from the cache of label sets.
    for time in [NOW, NOW + 1] {
        let series = series_v1(&[("__name__", "ALERTS"), ("job", "eu/shop")], &[(1.0, time)]);
        assert_eq!(server.write(V1, &request_v1(vec![series])).await.written(), [1, 0, 0]);
    }
    for batch in rows(&server.storage) {
        let services = batch["service_name"].as_dictionary::<Int32Type>();
        let texts = services.values().as_string::<i32>();
        assert!(services.keys().values().iter().all(|code| texts.value(*code as usize) == "shop"), "{texts:?}");
    }
    assert!(samples(&server.storage).iter().all(|row| row.0 == r#"ALERTS {"job":"eu/shop"}"#));
}
