//! The bytes of a day of slices; see FORMAT.md.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::{Counts, Slice};
use crate::querier::Group;

const MAGIC: &[u8; 4] = b"TSLO";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Groups of one record: with slices of a minute and the longest numbers it stays below 1 MiB.
const GROUPS_PER_RECORD: usize = 32;

/// The most slices of a day: those of a minute.
const SLICES_MAX: usize = 1440;

const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A record that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DamagedRecord(String);

/// Where a run of slices stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) width_seconds: u32,
    pub(crate) day: i32,
    /// Place in the day of the first slice.
    pub(crate) first: u16,
}

/// One decoded record.
#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) place: Place,
    /// How many records the day has.
    pub(crate) blocks: u16,
    pub(crate) slices: Vec<Slice>,
}

/// The records of a run of slices of one day, in the order of their blocks; always at least one.
pub(crate) fn encode(place: Place, slices: &[Slice]) -> Vec<Vec<u8>> {
    let groups: BTreeSet<&Group> = slices.iter().flat_map(|slice| slice.groups.keys()).collect();
    let groups: Vec<&Group> = groups.into_iter().collect();
    let mut chunks: Vec<&[&Group]> = groups.chunks(GROUPS_PER_RECORD).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let blocks = to_u16(chunks.len());
    chunks.into_iter().map(|chunk| encode_block(place, blocks, chunk, slices)).collect()
}

fn encode_block(place: Place, blocks: u16, groups: &[&Group], slices: &[Slice]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend(place.width_seconds.to_le_bytes());
    bytes.extend(place.day.to_le_bytes());
    for number in [place.first, to_u16(slices.len()), blocks, to_u16(groups.len())] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(slices.iter().flat_map(|slice| slice.coverage.to_le_bytes()));
    for group in groups {
        bytes.push(u8::try_from(group.len()).unwrap_or(u8::MAX));
        for value in group.iter() {
            bytes.extend(to_u16(value.len()).to_le_bytes());
            bytes.extend(value.as_bytes());
        }
        for slice in slices {
            let counts = slice.groups.get(*group).copied().unwrap_or_default();
            push_number(&mut bytes, counts.total);
            push_number(&mut bytes, counts.bad);
        }
    }
    let checksum = xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn to_u16(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn push_number(bytes: &mut Vec<u8>, number: f64) {
    if number.fract() != 0.0 || !(0.0..EXACT_MAX).contains(&number) {
        bytes.push(1);
        bytes.extend(number.to_le_bytes());
        return;
    }
    let mut left = (number as u64) << 1;
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

/// Reads one record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Block, DamagedRecord> {
    let damaged = |what: &str| DamagedRecord(what.to_owned());
    let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| damaged("it is too short"))?;
    let (content, checksum) = bytes.split_at(split);
    let mut reader = Reader(content);
    if reader.take(4)? != MAGIC {
        return Err(damaged("it does not begin with TSLO"));
    }
    let version = reader.take(1)?;
    if version != [VERSION] {
        return Err(DamagedRecord(format!("it has version {version:?} where {VERSION} is known")));
    }
    if xxh3_64(content).to_le_bytes() != checksum {
        return Err(damaged("its checksum is wrong"));
    }
    let (width_seconds, day) = (reader.array().map(u32::from_le_bytes)?, reader.array().map(i32::from_le_bytes)?);
    let place = Place { width_seconds, day, first: reader.u16()? };
    let (count, blocks, groups) = (usize::from(reader.u16()?), reader.u16()?, usize::from(reader.u16()?));
    if count > SLICES_MAX || groups > GROUPS_PER_RECORD {
        return Err(DamagedRecord(format!("it has {count} slices and {groups} groups")));
    }
    let mut slices = Vec::with_capacity(count);
    for _ in 0..count {
        slices.push(Slice { coverage: f32::from_le_bytes(reader.array()?), groups: BTreeMap::new() });
    }
    for _ in 0..groups {
        reader.group_into(&mut slices)?;
    }
    if reader.0.is_empty() { Ok(Block { place, blocks, slices }) } else { Err(damaged("it is too long")) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DamagedRecord> {
        let (head, tail) =
            self.0.split_at_checked(count).ok_or_else(|| DamagedRecord("it ends too early".to_owned()))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DamagedRecord> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, DamagedRecord> {
        self.array().map(u16::from_le_bytes)
    }

    fn number(&mut self) -> Result<f64, DamagedRecord> {
        let mut value = 0_u64;
        for shift in (0..56).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value == 1 { self.array().map(f64::from_le_bytes) } else { Ok((value >> 1) as f64) };
            }
        }
        Err(DamagedRecord("a number is too long".to_owned()))
    }

    fn group_into(&mut self, slices: &mut [Slice]) -> Result<(), DamagedRecord> {
        let [count] = self.array::<1>()?;
        let mut values = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let length = usize::from(self.u16()?);
            let value = std::str::from_utf8(self.take(length)?);
            values.push(value.map_err(|_| DamagedRecord("a value of a group is no UTF-8".to_owned()))?.to_owned());
        }
        let group = Group::from(values);
        for slice in slices {
            let (total, bad) = (self.number()?, self.number()?);
            if total > 0.0 {
                slice.groups.insert(Group::clone(&group), Counts { bad, total });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place { width_seconds: 300, day: 20_500, first: 7 };

    fn slice(coverage: f32, groups: &[(&str, f64, f64)]) -> Slice {
        let groups = groups
            .iter()
            .map(|(name, bad, total)| (Group::from(vec![(*name).to_owned()]), Counts { bad: *bad, total: *total }));
        Slice { coverage, groups: groups.collect() }
    }

    fn round_trip(slices: &[Slice]) -> Vec<Slice> {
        let mut read = vec![Slice::default(); slices.len()];
        let records = encode(PLACE, slices);
        for record in &records {
            let block = decode(record).unwrap();
            assert_eq!((block.place, usize::from(block.blocks)), (PLACE, records.len()));
            for (into, from) in read.iter_mut().zip(block.slices) {
                into.coverage = from.coverage;
                into.groups.extend(from.groups);
            }
        }
        read
    }

    #[test]
    fn the_bytes_of_version_1_stay_readable() {
        let bytes = encode(PLACE, &[slice(1.0, &[("a", 1.0, 300.0)]), slice(0.5, &[])]).remove(0);
        let expected = "54534c4f012c01000014500000070002000100010000".to_owned() + "00803f0000003f01010061d804020000";
        let hex: String = bytes[..bytes.len() - 8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(decode(&bytes).unwrap().slices[0], slice(1.0, &[("a", 1.0, 300.0)]));
    }

    #[test]
    fn the_largest_day_stays_below_the_limit_of_a_record() {
        let name = |group: usize| Group::from(vec![format!("{group:0>512}"); 8]);
        let groups = (0..40).map(|group| (name(group), Counts { bad: 0.1, total: 0.3 })).collect();
        let slice = Slice { coverage: 1.0, groups };
        let slices = vec![slice; SLICES_MAX];
        assert!(encode(PLACE, &slices).iter().all(|record| record.len() < 1024 * 1024));
        assert_eq!(round_trip(&slices), slices);
    }

    proptest! {
        #[test]
        fn slices_survive_their_record(
            slices in prop::collection::vec(
                (0.0_f32..=1.0, prop::collection::btree_map("[a-zä]{0,3}", (0.0..=1.0_f64, prop_oneof![
                    (1_u64..1 << 53).prop_map(|number| number as f64),
                    0.001..1e18_f64,
                ]), 0..5)),
                0..40,
            ),
        ) {
            let slices: Vec<Slice> = slices.into_iter().map(|(coverage, groups)| Slice {
                coverage,
                groups: groups.into_iter().map(|(name, (share, total))| {
                    (Group::from(vec![name]), Counts { bad: (total * share).floor(), total })
                }).collect(),
            }).collect();
            prop_assert_eq!(round_trip(&slices), slices);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), sum in any::<bool>()) {
            if sum {
                bytes.splice(0..0, b"TSLO\x01".iter().copied());
                let checksum = xxh3_64(&bytes);
                bytes.extend(checksum.to_le_bytes());
            }
            drop(decode(&bytes));
        }

        #[test]
        fn every_changed_byte_is_found(at in 0_usize..50, flip in 1_u8..) {
            let mut bytes = encode(PLACE, &[slice(1.0, &[("a", 1.0, 300.0)]), slice(0.5, &[])]).remove(0);
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
