//! What a snapshot consists of.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trivium_model::{SignalKind, UnixNanos};

use super::{PARTS, refused};
use crate::error::Error;
use crate::fs::FileSystem;
use crate::part::PartRecord;

/// Its file. Written last.
pub(super) const FILE: &str = "manifest.json";

/// The version that this build writes and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// Bytes of a manifest that are read: a hundred thousand parts and more.
const BYTES_MAX: u64 = 256 << 20;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) created_at: String,
    pub(super) version: String,
    pub(super) rows: u64,
    pub(super) catalog: StoredFile,
    pub(super) wal: Vec<StoredFile>,
    pub(super) parts: Vec<StoredPart>,
    pub(super) damaged: Vec<DamagedPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredPart {
    pub(super) signal: String,
    pub(super) id: String,
    pub(super) files: Vec<StoredFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DamagedPart {
    pub(super) id: String,
    pub(super) problem: String,
}

/// Only this much is read of a manifest of another format.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl StoredPart {
    pub(super) fn of(record: &PartRecord) -> Self {
        let file = |file: &crate::part::PartFile| StoredFile {
            name: file.name.clone(),
            bytes: file.bytes,
            crc32c: file.crc32c,
        };
        let files = record.files.iter().map(file).collect();
        Self { signal: record.signal.as_str().into(), id: record.id.to_string(), files }
    }

    /// Where it lies below a backup folder or a data folder.
    pub(super) fn folder(&self, folder: &Path) -> PathBuf {
        folder.join(self.key())
    }

    /// The same as the name of an object.
    pub(super) fn key(&self) -> String {
        format!("{PARTS}/{}/{}", self.signal, self.id)
    }
}

impl Manifest {
    pub(super) fn encode(&self) -> Result<String, Error> {
        let json = serde_json::to_string(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(format!("{json}\ncrc32c:{:08x}\n", crc32c::crc32c(json.as_bytes())))
    }

    pub(super) fn read(fs: &dyn FileSystem, snapshot: &Path) -> Result<Self, Error> {
        let path = snapshot.join(FILE);
        Self::check_length(&path, fs.len(&path)?)?;
        let bytes = fs.read(&path)?;
        Self::decode(path, &bytes)
    }

    pub(super) fn check_length(path: &Path, bytes: u64) -> Result<(), Error> {
        if bytes > BYTES_MAX { Err(damaged(path, "it is too long")) } else { Ok(()) }
    }

    pub(super) fn decode(path: PathBuf, bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |what: &str| damaged(&path, what);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let (json, rest) = text.split_once('\n').ok_or_else(|| damaged("it has no sum"))?;
        if rest != format!("crc32c:{:08x}\n", crc32c::crc32c(json.as_bytes())) {
            return Err(damaged("its sum is another one"));
        }
        let version: Version = serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        if version.format > FORMAT {
            return Err(Error::UnknownFormat { path, found: version.format, supported: FORMAT });
        }
        let manifest: Self = serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        manifest.check_names().ok_or_else(|| damaged("a name in it leads elsewhere"))?;
        Ok(manifest)
    }

    /// A manifest that somebody else made must not lead out of the folders.
    fn check_names(&self) -> Option<()> {
        let is_plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        let files = self.wal.iter().chain([&self.catalog]).chain(self.parts.iter().flat_map(|part| &part.files));
        let is_signal = |word: &str| SignalKind::ALL.into_iter().any(|signal| signal.as_str() == word);
        let is_sound = files.into_iter().all(|file| is_plain(&file.name))
            && self.parts.iter().all(|part| is_plain(&part.id) && is_signal(&part.signal));
        is_sound.then_some(())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let parts = self.parts.iter().flat_map(|part| &part.files);
        self.wal.iter().chain([&self.catalog]).chain(parts).map(|file| file.bytes).sum()
    }
}

fn damaged(path: &Path, what: &str) -> Error {
    refused(format!("{} is damaged: {what}; restore another snapshot", path.display()))
}

/// The name of a snapshot: its time in UTC, which sorts as text.
pub(super) fn snapshot_name(now: UnixNanos) -> String {
    let (seconds, nanos) = (now.0.div_euclid(NANOS_PER_SECOND), now.0.rem_euclid(NANOS_PER_SECOND));
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{:03}Z", nanos / 1_000_000)
}

/// Days since 1970 as a date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_by_their_time() {
        assert_eq!(snapshot_name(UnixNanos(0)), "19700101T000000.000Z");
        assert_eq!(snapshot_name(UnixNanos(951_782_400_123_456_789)), "20000229T000000.123Z");
        assert_eq!(snapshot_name(UnixNanos(1_795_279_322_000_000_000)), "20261121T164202.000Z");
        assert_eq!(snapshot_name(UnixNanos(-1)), "19691231T235959.999Z");
    }
}
