//! Label sets: checked, put in order, written as attributes, and known again by the bytes that they stand in.

use hashbrown::HashTable;
use trivium_model::{limit, service_of_job};
use trivium_storage::attributes::write_string;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Version;
use super::cache::{KnownSeries, LabelCache};
use super::symbols::Symbols;
use crate::decode::Reason;
use crate::decode::attribute_set::RawSet;
use crate::decode::point_columns::PointColumns;
use crate::decode::wire::{Fields, WireError, repeated_varint};

/// The label that is the name of the metric.
const NAME: &str = "__name__";
/// The label that names the service.
const JOB: &str = "job";

/// What stands before and behind the metric name in the identity of a series: empty resource and scope; the type, and no
/// unit, no temporality, not monotonic.
const IDENTITY_BEFORE: &[u8] = b"{}\0{}\0";
const IDENTITY_BEHIND: &[u8] = b"\0prometheus\0\0\x000";

/// Bytes of the names and values of one label set. A reference is a byte or two on the wire, whatever it stands for.
const SET_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that the different label sets of a request become, in sum: no more by references than it could bring without.
const REQUEST_BYTES_MAX: usize = limit::REQUEST_BYTES_MAX;

/// The codes of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesCodes {
    pub(super) name: i32,
    pub(super) attributes: i32,
    pub(super) service: i32,
    pub(super) series_id: u64,
}

/// The labels of one series or exemplar. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Labels<'a> {
    /// Name and value, by name in the order of bytes.
    list: Vec<(&'a str, &'a str)>,
    /// Bytes of them.
    bytes: usize,
    references: Vec<u64>,
}

/// The label sets of a request.
#[derive(Debug)]
pub(super) struct LabelSets<'a> {
    version: Version,
    labels: Labels<'a>,
    known: HashTable<(u64, &'a [u8], SeriesCodes)>,
    cache: Option<&'a LabelCache>,
    key: Vec<u8>,
    json: String,
    identity: Vec<u8>,
    /// Bytes that the sets of this request became.
    written_bytes: usize,
}

impl<'a> Labels<'a> {
    /// Reads and checks a label set.
    ///
    /// Senders must sort labels and leave out empty values. Prometheus puts right what does not keep to it, and so do we:
    /// the set is the same.
    pub(super) fn read(&mut self, version: Version, set: &RawSet<'a>, symbols: &Symbols<'a>) -> Result<(), Reason> {
        self.list.clear();
        self.bytes = 0;
        self.references.clear();
        for run in set.runs() {
            match version {
                Version::V1 => self.read_pairs(run)?,
                Version::V2 => read_references(run, &mut self.references)?,
            }
        }
        self.resolve(symbols)?;
        if !self.list.is_sorted_by_key(|(name, _)| name.as_bytes()) {
            self.list.sort_by_key(|(name, _)| name.as_bytes());
        }
        let repeated = self.list.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match repeated {
            Some(pair) => Err(Reason::new("label name is repeated", shown(pair[0].0))),
            None => Ok(()),
        }
    }

    fn read_pairs(&mut self, run: &'a [u8]) -> Result<(), Reason> {
        let mut fields = Fields::new(run);
        while let Some((_, label)) = fields.next()? {
            let (name, value) = read_pair(label.bytes(&fields)?)?;
            self.push(name, value)?;
        }
        Ok(())
    }

    /// Writes the texts that a run of references stands for, each with its length, so that two sets never look the same,
    /// behind a byte with which no run of version 1.0 begins. `false` when they are more than a label set may have.
    fn write_key(&mut self, run: &'a [u8], symbols: &Symbols<'a>, key: &mut Vec<u8>) -> Result<bool, Reason> {
        key.clear();
        key.push(0);
        self.references.clear();
        read_references(run, &mut self.references)?;
        for reference in &self.references {
            let symbol = symbols.get(*reference)?;
            if key.len() + symbol.len() > SET_BYTES_MAX {
                return Ok(false);
            }
            key.extend_from_slice(&(symbol.len() as u32).to_le_bytes());
            key.extend_from_slice(symbol);
        }
        Ok(true)
    }

    fn resolve(&mut self, symbols: &Symbols<'a>) -> Result<(), Reason> {
        let references = std::mem::take(&mut self.references);
        let (pairs, rest) = references.as_chunks::<2>();
        if !rest.is_empty() {
            let example = format!("{} references", references.len());
            return Err(Reason::new("label references do not come in pairs", example));
        }
        for [name, value] in pairs {
            self.push(symbols.get(*name)?, symbols.get(*value)?)?;
        }
        self.references = references;
        Ok(())
    }

    fn push(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Reason> {
        let (name, value) = (text(name)?, text(value)?);
        if name.is_empty() {
            return Err(Reason::new("label has no name", format!("value {}", shown(value))));
        }
        if name.len() > limit::NAME_BYTES_MAX || value.len() > limit::VALUE_BYTES_MAX {
            return Err(Reason::new("label is too long", format!("{}, {} bytes", shown(name), value.len())));
        }
        if self.list.len() == limit::ATTRIBUTES_MAX {
            return Err(Reason::new("series has too many labels", format!("more than {}", limit::ATTRIBUTES_MAX)));
        }
        self.bytes += name.len() + value.len();
        if self.bytes > SET_BYTES_MAX {
            return Err(Reason::new("labels are too long in sum", format!("more than {SET_BYTES_MAX} bytes")));
        }
        self.list.push((name, value));
        Ok(())
    }

    /// The value of a label; empty, as Prometheus sees it, when there is none.
    pub(super) fn get(&self, name: &str) -> &'a str {
        self.list.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value)
    }

    /// Appends the labels but for one as an attribute set.
    pub(super) fn write_json(&self, without: &str, json: &mut String) {
        json.push('{');
        let mut is_first = true;
        for (name, value) in self.list.iter().filter(|(name, value)| *name != without && !value.is_empty()) {
            if !std::mem::take(&mut is_first) {
                json.push(',');
            }
            write_string(json, name);
            json.push(':');
            write_string(json, value);
        }
        json.push('}');
    }
}

impl<'a> LabelSets<'a> {
    pub(super) fn new(version: Version, cache: Option<&'a LabelCache>) -> Self {
        Self {
            version,
            labels: Labels::default(),
            known: HashTable::new(),
            cache,
            key: Vec::new(),
            json: String::new(),
            identity: Vec::new(),
            written_bytes: 0,
        }
    }

    /// The codes of the series with these labels.
    pub(super) fn codes(
        &mut self,
        set: &RawSet<'a>,
        symbols: &Symbols<'a>,
        columns: &mut PointColumns<'a>,
    ) -> Result<SeriesCodes, Reason> {
        let Some(run) = set.only_run() else {
            check_written(self.written_bytes)?;
            return self.read(set, symbols, columns);
        };
        let hash = xxh3_64(run);
        if let Some((_, _, codes)) = self.known.find(hash, |known| known.0 == hash && known.1 == run) {
            return Ok(*codes);
        }
        check_written(self.written_bytes)?;
        let codes = match self.cache {
            Some(cache) => self.read_cached(cache, hash, run, set, symbols, columns)?,
            None => self.read(set, symbols, columns)?,
        };
        self.known.insert_unique(hash, (hash, run, codes), |known| known.0);
        Ok(codes)
    }

    /// The service of the label set that was read last, as far as it could be read.
    pub(super) fn last_service(&self) -> &'a str {
        service_of_job(self.labels.get(JOB))
    }

    /// The codes of a set that an earlier request may have had. References mean something within their request only, so
    /// that the key of version 2.0 is the texts.
    fn read_cached(
        &mut self,
        cache: &LabelCache,
        hash: u64,
        run: &'a [u8],
        set: &RawSet<'a>,
        symbols: &Symbols<'a>,
        columns: &mut PointColumns<'a>,
    ) -> Result<SeriesCodes, Reason> {
        let mut key = std::mem::take(&mut self.key);
        let (hash, bytes) = match self.version {
            Version::V1 => (hash, run),
            Version::V2 => {
                if !self.labels.write_key(run, symbols, &mut key)? {
                    self.key = key;
                    return self.read(set, symbols, columns);
                }
                (xxh3_64(&key), &key[..])
            }
        };
        let codes = match cache.get(hash, bytes) {
            Some(known) => {
                self.written_bytes += known.attributes.len();
                Self::codes_of(&known, columns)
            }
            None => {
                let codes = self.read(set, symbols, columns)?;
                let known = KnownSeries {
                    name: self.labels.get(NAME).into(),
                    attributes: self.json.as_str().into(),
                    service: service_of_job(self.labels.get(JOB)).into(),
                    series_id: codes.series_id,
                };
                cache.insert(hash, bytes, known);
                codes
            }
        };
        self.key = key;
        Ok(codes)
    }

    fn codes_of(known: &KnownSeries, columns: &mut PointColumns<'a>) -> SeriesCodes {
        let (name, attributes) = columns.series_codes(&known.name, &known.attributes);
        let service = columns.origin().service_code_of(&known.service);
        SeriesCodes { name, attributes, service, series_id: known.series_id }
    }

    fn read(
        &mut self,
        set: &RawSet<'a>,
        symbols: &Symbols<'a>,
        columns: &mut PointColumns<'a>,
    ) -> Result<SeriesCodes, Reason> {
        self.labels.read(self.version, set, symbols)?;
        self.json.clear();
        self.labels.write_json(NAME, &mut self.json);
        self.written_bytes += self.json.len();
        let name = self.labels.get(NAME);
        if name.is_empty() {
            return Err(Reason::new("series has no metric name", shown(&self.json)));
        }
        if name.len() > limit::NAME_BYTES_MAX {
            return Err(Reason::new("metric name is too long", format!("{} bytes", name.len())));
        }
        self.identity.clear();
        for part in [IDENTITY_BEFORE, name.as_bytes(), IDENTITY_BEHIND] {
            self.identity.extend_from_slice(part);
        }
        let series_id = xxh3_64_with_seed(self.json.as_bytes(), xxh3_64(&self.identity));
        let (name, attributes) = columns.series_codes(name, &self.json);
        let service = columns.origin().service_code_of(service_of_job(self.labels.get(JOB)));
        Ok(SeriesCodes { name, attributes, service, series_id })
    }
}

/// Refuses further label sets of a request whose references stand for more than it may bring.
#[inline]
pub(super) fn check_written(bytes: usize) -> Result<(), Reason> {
    if bytes <= REQUEST_BYTES_MAX {
        return Ok(());
    }
    Err(Reason::new(
        "the label sets of the request are too large in sum",
        format!("more than {REQUEST_BYTES_MAX} bytes"),
    ))
}

#[inline]
fn read_pair(label: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut fields = Fields::new(label);
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.bytes(&fields)?,
            2 => value = field.bytes(&fields)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn read_references(run: &[u8], references: &mut Vec<u64>) -> Result<(), Reason> {
    let mut fields = Fields::new(run);
    while let Some((_, value)) = fields.next()? {
        // A label is two bytes at least.
        if run.len() > limit::ATTRIBUTES_MAX * 32 || references.len() > limit::ATTRIBUTES_MAX * 32 {
            return Err(Reason::new("series has too many labels", format!("{} bytes of references", run.len())));
        }
        repeated_varint(value, &fields, references, limit::ATTRIBUTES_MAX * 32)?;
    }
    Ok(())
}

#[inline]
fn text(bytes: &[u8]) -> Result<&str, Reason> {
    simdutf8::basic::from_utf8(bytes)
        .map_err(|_| Reason::new("label is not valid UTF-8", shown(&String::from_utf8_lossy(bytes))))
}

/// The beginning of a text, for an example.
fn shown(text: &str) -> String {
    const BYTES_MAX: usize = 128;
    format!("{:?}", text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_beyond_what_a_request_may_become_are_refused() {
        let run = [&[0x0a, 8][..], b"__name__", &[0x12, 1], b"m"].concat();
        let series = [&[0x0a, run.len() as u8][..], &run].concat();
        let columns = &mut PointColumns::with_capacity(1);
        let mut set = RawSet::default();
        set.push(&series, &[]);
        let mut sets = LabelSets::new(Version::V1, None);
        sets.written_bytes = REQUEST_BYTES_MAX + 1;
        assert!(sets.codes(&set, &Symbols::default(), columns).is_err(), "one more was read");
        sets.written_bytes = REQUEST_BYTES_MAX;
        columns.origin().enter_nowhere();
        assert!(sets.codes(&set, &Symbols::default(), columns).is_ok(), "the last one was refused");
        sets.written_bytes = REQUEST_BYTES_MAX + 1;
        assert!(sets.codes(&set, &Symbols::default(), columns).is_ok(), "what is known takes no more memory");
    }

    #[test]
    fn a_key_takes_no_more_memory_than_a_label_set_may_have() {
        let symbol = vec![b's'; 60_000];
        let payload = [&[0x22, 0xe0, 0xd4, 0x03][..], &symbol].concat();
        let symbols = Symbols::read(Version::V2, &payload).expect("one symbol");
        let references = [&[0x0a, 0x80, 0x10][..], &[0; 2_048]].concat();
        let (mut labels, mut key) = (Labels::default(), Vec::new());
        assert!(matches!(labels.write_key(&references, &symbols, &mut key), Ok(false)));
        assert!(key.capacity() <= 2 * SET_BYTES_MAX, "{} bytes", key.capacity());
    }
}
