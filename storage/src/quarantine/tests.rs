use tempfile::TempDir;
use trivium_model::RequestKey;

use super::*;
use crate::storage::{Appended, Storage};
use crate::testing::{append, bodies, clock, config, damage, expected, open, open_with, part_folders};

/// Requests 0..60 in one part, some of whose rows were damaged, and found so.
async fn damaged_part() -> (TempDir, Storage, QuarantinedItem) {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path()).await;
    append(&storage, 0..120, 0).await;
    storage.flush().await.expect("published");
    storage.close().await;
    drop(storage);
    let path = part_folders(folder.path())[0].join("columns.parquet");
    // The file keeps its length: a start does not see it.
    damage(&path, |bytes| bytes[2_000..2_100].fill(0xff));
    let storage = open(folder.path()).await;
    let parts = storage.inner.table(SignalKind::Logs).all_parts().cloned().collect();
    storage.inner.quarantine_damaged(parts).await;
    assert_eq!(bodies(&storage), expected(0..0));
    let item = storage.quarantined().await.expect("listed").pop().expect("the part");
    (folder, storage, item)
}

#[tokio::test]
async fn what_can_be_decoded_of_a_damaged_part_comes_back() {
    let (folder, storage, item) = damaged_part().await;
    assert_eq!((item.kind, item.rows, item.signal), (QuarantineKind::Part, Some(2400), Some(SignalKind::Logs)));
    let (_, lines) = show(folder.path(), &item.name, None).await.expect("shown");
    assert!(lines.iter().any(|line| line.contains("columns.parquet") && line.contains("not as it was")), "{lines:?}");
    let refused = storage.return_quarantined(&item.name, ReturnOptions::default()).await.expect_err("it is damaged");
    assert!(refused.to_string().contains("--salvage"), "{refused}");
    let salvage = ReturnOptions { salvage: true, tenant: None };
    let Returned::Part { rows, lost, .. } = storage.return_quarantined(&item.name, salvage).await.expect("some") else {
        panic!("it is a part")
    };
    assert_eq!(rows + lost, 2400);
    assert!(
        lost > 0 && rows > 0 && lines.contains(&format!("{rows} of 2400 rows can be decoded")),
        "{rows}, {lines:?}"
    );
    assert_eq!(bodies(&storage).len(), rows as usize);
    let left = storage.quarantined().await.expect("listed");
    assert_eq!(left.iter().map(|item| item.name.clone()).collect::<Vec<_>>(), [format!("salvaged-{}", item.name)]);
    storage.return_quarantined(&left[0].name, salvage).await.expect_err("it is kept for inspection only");
}

#[tokio::test]
async fn an_intact_part_comes_back_once_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path()).await;
    append(&storage, 0..5, 0).await;
    storage.flush().await.expect("published");
    let record = storage.parts().pop().expect("a part");
    let error = Error::Internal("a mistake".into());
    storage.inner.quarantine(&record, &error).await;
    assert_eq!(bodies(&storage), expected(0..0));
    let name = storage.quarantined().await.expect("listed")[0].name.clone();
    let returned = storage.return_quarantined(&name, ReturnOptions::default()).await.expect("it comes back");
    assert!(matches!(returned, Returned::Part { rows: 100, lost: 0, .. }), "{returned:?}");
    assert_eq!(bodies(&storage), expected(0..5));
    storage.return_quarantined(&name, ReturnOptions::default()).await.expect_err("it is gone");
    append(&storage, 5..6, 0).await;
    storage.close().await;
    drop(storage);
    assert_eq!(bodies(&open(folder.path()).await), expected(0..6));
    let report = crate::verify::verify(folder.path(), crate::verify::Options { deep: true, ..Default::default() })
        .await
        .expect("checked");
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn a_request_that_a_later_build_can_decode_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = crate::testing::request(3, 0);
    let storage = open(folder.path()).await;
    // What the buffer gets is sound; what replay will find is not.
    let bad = crate::storage::AppendRequest { payload: "gibberish".into(), ..good.clone() };
    storage.append(bad).await.expect("acknowledged");
    drop(storage);
    let (storage, report) = open_with(folder.path(), config(), clock()).await.expect("it opens");
    assert_eq!(report.undecodable_requests, 1);
    let item = storage.quarantined().await.expect("listed").pop().expect("the request");
    assert_eq!((item.kind, item.signal, item.bytes), (QuarantineKind::Request, Some(SignalKind::Logs), 9));
    storage.return_quarantined(&item.name, ReturnOptions::default()).await.expect_err("it is no better now");
    std::fs::write(folder.path().join(FOLDER).join(&item.name), &good.payload).expect("as if we could read it now");
    let returned = storage.return_quarantined(&item.name, ReturnOptions::default()).await.expect("it comes back");
    assert!(matches!(returned, Returned::Request(Appended::Stored(_))), "{returned:?}");
    assert_eq!(bodies(&storage), expected([3]));
    assert_eq!(storage.quarantined().await.expect("listed"), []);
    drop(storage);
    assert_eq!(bodies(&open(folder.path()).await), expected([3]), "after a crash");
}

#[tokio::test]
async fn a_name_does_not_lead_out_of_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path()).await;
    append(&storage, 0..1, 0).await;
    storage.flush().await.expect("published");
    let part = part_folders(folder.path())[0].file_name().expect("a name").to_string_lossy().into_owned();
    std::fs::create_dir(folder.path().join(FOLDER)).expect("made");
    for name in ["../wal", "", ".", "..", &format!("../parts/logs/{part}"), "/etc/passwd", "part-logs-zz"] {
        let refused =
            storage.return_quarantined(name, ReturnOptions { salvage: true, tenant: Some(TenantId(0)) }).await;
        assert!(matches!(refused, Err(Error::Io { .. })), "{name}");
    }
}

#[test]
fn names_say_what_a_piece_is() {
    let header = |is_encrypted| FrameHeader {
        tenant: TenantId(7),
        signal: SignalKind::Traces,
        format: WireFormat::RemoteWrite2,
        key: RequestKey([0; 16]),
        received_at: UnixNanos(-5),
        oldest_admitted: UnixNanos::MIN,
        is_encrypted,
    };
    for header in [header(false), header(true)] {
        let name = request_name(&header, WalPosition(42));
        let Named::Request(request, position) = Named::parse(&name) else { panic!("{name}") };
        let FrameHeader { tenant, signal, format, received_at, oldest_admitted, is_encrypted, .. } = header;
        assert_eq!(request, RequestName { signal, tenant, format, received_at, oldest_admitted, is_encrypted });
        assert_eq!((position, position_of(&name)), (WalPosition(42), Some(42)));
    }
    assert_eq!(position_of("request-logs-00000000000000000009.otlp"), Some(9), "as the first builds named them");
    for other in ["part-logs", "part-logs-12", "request-logs-1-x-3_4.otlp", "request-", "orphan--", "é", "index"] {
        assert_eq!(Named::parse(other), Named::Other, "{other}");
    }
    assert_eq!(Named::parse("00000000000000000001-00000000000000aa.wal.1"), Named::Wal);
}
