//! The strings that the series of a request of version 2.0 refer to.

use trivium_model::limit;

use super::Version;
use crate::decode::Reason;
use crate::decode::wire::{Fields, WireError};

/// Symbols of one request at most: one is two bytes on the wire and takes sixteen in memory.
const SYMBOLS_MAX: usize = limit::REQUEST_NESTED_MAX;

const SYMBOLS_FIELD: u32 = 4;

/// The symbol table, undecoded. Version 1.0 has none.
#[derive(Debug, Default)]
pub(super) struct Symbols<'a>(Vec<&'a [u8]>);

impl<'a> Symbols<'a> {
    /// Protobuf does not promise an order of fields, so that the table is read before the series.
    pub(super) fn read(version: Version, payload: &'a [u8]) -> Result<Self, WireError> {
        let mut symbols = Vec::new();
        if version == Version::V1 {
            return Ok(Self(symbols));
        }
        let mut fields = Fields::new(payload);
        while let Some((number, value)) = fields.next()? {
            if number == SYMBOLS_FIELD {
                if symbols.len() == SYMBOLS_MAX {
                    return Err(WireError::new("a symbol table that is too long", fields.rest()));
                }
                symbols.push(value.bytes(&fields)?);
            }
        }
        Ok(Self(symbols))
    }

    /// The symbol that a number refers to.
    #[inline]
    pub(super) fn get(&self, reference: u64) -> Result<&'a [u8], Reason> {
        let symbol = usize::try_from(reference).ok().and_then(|index| self.0.get(index));
        symbol.copied().ok_or_else(|| {
            let example = format!("{reference} of {}", self.0.len());
            Reason::new("reference points outside of the symbol table", example)
        })
    }

    /// The same, where zero says that there is none.
    pub(super) fn get_or_empty(&self, reference: u64) -> Result<&'a [u8], Reason> {
        if reference == 0 { Ok(&[]) } else { self.get(reference) }
    }
}
