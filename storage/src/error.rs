use std::path::PathBuf;

use trivium_model::{ErrorKind, PartId, TenantId};

/// What can go wrong in the store. `kind()` says what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb: `open`, `append to`, `fsync`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes on disk are not what was written.
    #[error("{} is corrupted at byte {offset}: expected {expected}, found {found}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A file was written by a version of Trivium that this one does not know.
    #[error("{} has format version {found}, this build reads up to {supported}; start a newer Trivium on this folder", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// A key file cannot be used.
    #[error("the key file {} cannot be used: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What was found and what to do.
        problem: String,
    },
    /// Encrypted telemetry whose key is not there.
    #[error("{problem}")]
    Encrypted {
        /// What was found and what to do.
        problem: String,
    },
    /// Telemetry whose key was shredded: nobody can read it any more.
    #[error("the key of tenant {tenant} was shredded; what it encrypted cannot be read any more")]
    Shredded {
        /// Whose telemetry it was.
        tenant: TenantId,
    },
    /// Another process holds the data folder.
    #[error("{} is in use by another process; stop it or choose another --data-dir", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A restore into the folder was interrupted.
    #[error("a restore into {} did not finish; empty the folder and restore again", folder.display())]
    NotRestored {
        /// The folder.
        folder: PathBuf,
    },
    /// Published parts that the catalog does not know.
    #[error(
        "{} does not name {parts} parts that lie in parts/, and {problem}; restore catalog.sqlite, or move these parts to quarantine/ \
         with `trivium verify --repair` and start again", catalog.display()
    )]
    StaleCatalog {
        /// The catalog.
        catalog: PathBuf,
        /// How many.
        parts: usize,
        /// How it is known that they were published.
        problem: String,
    },
    /// A backup cannot be used or made.
    #[error("{problem}")]
    Backup {
        /// What was found and what to do.
        problem: String,
    },
    /// The store takes no writes at the moment.
    #[error("the store takes no writes: {reason}")]
    Unavailable {
        /// Why, and what ends it.
        reason: String,
    },
    /// A request is longer than a frame of the WAL may be.
    #[error("a request of {bytes} bytes cannot be stored, at most {max} are; send smaller batches")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// A publish was based on parts that are no longer there.
    #[error("part {part} is no longer published; the compaction that read it must start over")]
    Conflict {
        /// The missing input.
        part: PartId,
    },
    /// The catalog failed.
    #[error("cannot {action} in the catalog: {source}")]
    Catalog {
        /// What was attempted.
        action: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Arrow or Parquet failed on our own data.
    #[error("cannot {action}: {source}")]
    Columns {
        /// What was attempted.
        action: &'static str,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },
    /// The text index failed on our own data.
    #[error("cannot {action}: {source}")]
    Text {
        /// What was attempted.
        action: &'static str,
        /// What the library said.
        source: Box<tantivy::TantivyError>,
    },
    /// A defect of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::Unavailable { .. } | Self::Locked { .. } | Self::Catalog { .. } => {
                ErrorKind::Unavailable
            }
            Self::Corrupted { .. }
            | Self::UnknownFormat { .. }
            | Self::NotRestored { .. }
            | Self::StaleCatalog { .. }
            | Self::KeyFile { .. }
            | Self::Encrypted { .. }
            | Self::Shredded { .. }
            | Self::Backup { .. } => ErrorKind::Corrupted,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::Conflict { .. } => ErrorKind::Unavailable,
            Self::Columns { .. } | Self::Text { .. } | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// Whether it says nothing of the bytes on disk: they could not be read this time, or it was the catalog that failed. What is
    /// missing, or shorter than it was, is damage.
    pub(crate) fn is_passing(&self) -> bool {
        use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        if matches!(self, Self::Catalog { .. } | Self::Unavailable { .. } | Self::Conflict { .. }) {
            return true;
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>()
                && !matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
            {
                return true;
            }
            cause = error.source();
        }
        false
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Columns { action: "handle columns", source: error.into() }
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(source: parquet::errors::ParquetError) -> Self {
        Self::Columns { action: "handle Parquet", source }
    }
}

impl From<tantivy::TantivyError> for Error {
    fn from(source: tantivy::TantivyError) -> Self {
        Self::Text { action: "handle the text index", source: Box::new(source) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind as IoKind};

    use super::*;

    #[test]
    fn what_could_not_be_read_is_not_damaged() {
        let io = |kind| Error::io("read", "columns.parquet")(IoError::from(kind));
        let eio = || IoError::from_raw_os_error(5);
        assert!(Error::io("read", "x")(eio()).is_passing() && io(IoKind::PermissionDenied).is_passing());
        assert!(Error::from(parquet::errors::ParquetError::from(eio())).is_passing());
        assert!(!io(IoKind::NotFound).is_passing() && !io(IoKind::UnexpectedEof).is_passing());
        assert!(!Error::Internal("a defect".into()).is_passing());
        assert!(Error::Catalog { action: "publish parts", source: sqlx::Error::PoolTimedOut }.is_passing());
        assert!(Error::Conflict { part: PartId([1; 16]) }.is_passing());
        assert!(!Error::from(parquet::errors::ParquetError::EOF("short".into())).is_passing());
    }
}
