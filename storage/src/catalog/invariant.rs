//! What must hold of every catalog, as pure functions: implementations check it before they commit, `verify` after they read.

use trivium_model::{SignalKind, WalPosition};

use super::{CatalogState, Publish};
use crate::error::Error;
use crate::part::PartRecord;

/// A part holds rows, and its ranges are not reversed.
pub(super) fn part_is_sound(part: &PartRecord) -> Result<(), Error> {
    let PartRecord { id, first_time, last_time, first_position, last_position, .. } = part;
    if part.rows == 0 {
        return Err(broken(format!("part {id} holds no row")));
    }
    if first_time > last_time {
        return Err(broken(format!("part {id} begins at {} and ends before it, at {}", first_time.0, last_time.0)));
    }
    if first_position > last_position {
        return Err(broken(format!("part {id} begins at WAL position {first_position} and ends at {last_position}")));
    }
    Ok(())
}

/// What can be said of a publish without knowing what is published.
pub(super) fn publish_is_sound(publish: &Publish) -> Result<(), Error> {
    for part in &publish.add {
        part_is_sound(part)?;
        if part.signal != publish.signal {
            return Err(broken(format!("part {} of {} is published with {}", part.id, part.signal, publish.signal)));
        }
    }
    let mut removed = publish.remove.clone();
    removed.sort_unstable();
    if let Some(pair) = removed.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(broken(format!("part {} is removed twice", pair[0])));
    }
    Ok(())
}

/// Rows survive a replacement: what goes out comes in again, or is dropped on purpose (openobserve#14275).
pub(super) fn rows_survive(publish: &Publish, removed_rows: u64) -> Result<(), Error> {
    let added_rows: u64 = publish.add.iter().map(|part| u64::from(part.rows)).sum();
    if publish.remove.is_empty() || added_rows.checked_add(publish.dropped_rows) == Some(removed_rows) {
        return Ok(());
    }
    Err(broken(format!(
        "a replacement of {removed_rows} rows holds {added_rows} and drops {}: they do not add up",
        publish.dropped_rows
    )))
}

/// WAL positions only grow, and the new rows are those between the two positions: each request is in parts exactly once.
pub(super) fn position_grows(publish: &Publish, before: WalPosition, after: WalPosition) -> Result<(), Error> {
    if after <= before {
        let signal = publish.signal;
        return Err(broken(format!("the WAL position of {signal} would go from {before} to {after}")));
    }
    for part in &publish.add {
        if part.first_position <= before || part.last_position > after {
            let (first, last) = (part.first_position, part.last_position);
            return Err(broken(format!(
                "part {} holds WAL positions {first} to {last}, the publish is of those after {before} up to {after}",
                part.id
            )));
        }
    }
    Ok(())
}

/// A part that comes back from quarantine holds no request that will be replayed.
pub(super) fn is_published_up_to(part: &PartRecord, position: WalPosition) -> Result<(), Error> {
    if part.last_position <= position {
        return Ok(());
    }
    Err(broken(format!(
        "part {} holds WAL position {} of {}, which is published only up to {position}: its requests are in the WAL",
        part.id, part.last_position, part.signal
    )))
}

/// What is wrong with a whole catalog, one sentence each.
pub(super) fn findings(state: &CatalogState) -> Vec<String> {
    let mut findings = Vec::new();
    for part in &state.parts {
        if let Err(error) = part_is_sound(part) {
            findings.push(error.to_string());
        }
        let position = state.wal_position(part.signal);
        if part.last_position > position {
            findings.push(format!(
                "part {} holds WAL position {} of {}, which is published only up to {position}",
                part.id, part.last_position, part.signal
            ));
        }
    }
    findings
}

/// The signal of a tag that was read from a database.
pub(super) fn signal(tag: i64) -> Option<SignalKind> {
    u8::try_from(tag).ok().and_then(SignalKind::from_tag)
}

fn broken(what: String) -> Error {
    Error::Internal(what)
}
