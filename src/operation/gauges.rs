//! What of the store is read when metrics are asked for.

use trivium_model::SignalKind;
use trivium_storage::Storage;

/// Ages, the quarantine and the breaker of crash loops in OpenMetrics text format.
pub(crate) fn gauges(storage: &Storage) -> String {
    let mut text = String::new();
    let head = |name: &str, help: &str, text: &mut String| {
        text.push_str(&format!("# HELP trivium_storage_{name} {help}.\n# TYPE trivium_storage_{name} gauge\n"));
    };
    let age = "unpublished_age_seconds";
    head(age, "age of the oldest acknowledged request that is in the WAL only", &mut text);
    for signal in SignalKind::ALL {
        let seconds = storage.unpublished_for(signal).as_secs_f64();
        text.push_str(&format!("trivium_storage_{age}{{signal=\"{signal}\"}} {seconds:.3}\n"));
    }
    let (items, bytes) = storage.quarantine_size();
    for (name, help, value) in [
        ("quarantine_items", "pieces in quarantine", items),
        ("quarantine_bytes", "bytes of these pieces", bytes),
        ("crash_loop", "1 while requests are refused after a series of crashes", storage.crash_loop().is_some().into()),
    ] {
        head(name, help, &mut text);
        text.push_str(&format!("trivium_storage_{name} {value}\n"));
    }
    text
}
