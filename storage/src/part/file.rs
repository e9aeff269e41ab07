//! One file of a part, read by position: safe to share between threads, and a truncated file is an error where a memory
//! map would be a signal.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::Error;

/// Bytes that a sequential reader fetches at once.
const READ_AHEAD: usize = 64 * 1024;

/// An open file. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct PartFileReader {
    file: Arc<File>,
    path: Arc<PathBuf>,
    length: u64,
}

impl PartFileReader {
    /// Opens a file that must have `length` bytes.
    pub(crate) fn open(path: &Path, length: u64) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let found = file.metadata().map_err(Error::io("look at", path))?.len();
        if found != length {
            return Err(Error::Corrupted {
                path: path.to_path_buf(),
                offset: found.min(length),
                expected: format!("{length} bytes"),
                found: format!("{found} bytes"),
            });
        }
        Ok(Self { file: Arc::new(file), path: Arc::new(path.to_path_buf()), length })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes at `offset`, which must lie in the file.
    pub(crate) fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(self.corrupted(offset, format!("{length} more bytes"), format!("a file of {} bytes", self.length)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(Error::io("read", self.path()))?;
        Ok(bytes)
    }

    /// The error for bytes that are not what was written.
    pub(crate) fn corrupted(&self, offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Corrupted { path: self.path().to_path_buf(), offset, expected: expected.into(), found: found.into() }
    }

    /// CRC32C over the whole file.
    pub(crate) fn checksum(&self) -> Result<u32, Error> {
        let mut buffer = vec![0; 1 << 20];
        let (mut sum, mut offset) = (0, 0);
        while offset < self.length {
            let take = buffer.len().min(usize::try_from(self.length - offset).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut buffer[..take], offset).map_err(Error::io("read", self.path()))?;
            sum = crc32c::crc32c_append(sum, &buffer[..take]);
            offset += take as u64;
        }
        Ok(sum)
    }
}

impl Length for PartFileReader {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for PartFileReader {
    type T = SequentialReader;

    fn get_read(&self, start: u64) -> Result<SequentialReader, ParquetError> {
        Ok(SequentialReader { file: self.clone(), offset: start, buffer: Vec::new(), at: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.read_at(start, length).map(Bytes::from).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads a file from a position to its end.
#[derive(Debug)]
pub(crate) struct SequentialReader {
    file: PartFileReader,
    offset: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl Read for SequentialReader {
    fn read(&mut self, output: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.buffer.len() {
            let left = usize::try_from(self.file.length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            self.buffer.resize(READ_AHEAD.min(left), 0);
            self.file.file.read_exact_at(&mut self.buffer, self.offset)?;
            self.offset += self.buffer.len() as u64;
            self.at = 0;
        }
        let taken = output.len().min(self.buffer.len() - self.at);
        output[..taken].copy_from_slice(&self.buffer[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}
