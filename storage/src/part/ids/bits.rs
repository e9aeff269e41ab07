//! Bit by bit, lowest first.

/// Appends bits to bytes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    used: u32,
}

impl BitWriter {
    /// Bits written so far.
    pub(super) fn position(&self) -> u64 {
        self.bytes.len() as u64 * 8 + u64::from(self.used)
    }

    /// Appends the low `count` bits of a value, at most 32.
    pub(super) fn write(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 32 && value < 1 << count, "the value has more bits than are written");
        self.pending |= value << self.used;
        self.used += count;
        while self.used >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.used -= 8;
        }
    }

    /// Rice code (Rice 1979): the quotient by 2^k in unary, the remainder in k bits.
    pub(super) fn write_rice(&mut self, value: u64, k: u32) {
        for _ in 0..value >> k {
            self.write(1, 1);
        }
        self.write(0, 1);
        self.write(value & ((1 << k) - 1), k);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.used > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// Reads bits from bytes. Beyond the end there is nothing.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: u64,
    end: u64,
}

impl<'a> BitReader<'a> {
    /// Reads the bits from `position` up to `end`, both counted from the beginning of `bytes`.
    pub(super) fn new(bytes: &'a [u8], position: u64, end: u64) -> Self {
        Self { bytes, position, end: end.min(bytes.len() as u64 * 8) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.position >= self.end
    }

    /// The next `count` bits, at most 32.
    pub(super) fn read(&mut self, count: u32) -> Option<u64> {
        if self.position + u64::from(count) > self.end {
            return None;
        }
        let first = usize::try_from(self.position / 8).ok()?;
        let mut word = [0; 8];
        let available = self.bytes.get(first..)?;
        let length = available.len().min(8);
        word[..length].copy_from_slice(&available[..length]);
        let bits = u64::from_le_bytes(word) >> (self.position % 8);
        self.position += u64::from(count);
        Some(bits & ((1 << count) - 1))
    }

    pub(super) fn read_rice(&mut self, k: u32) -> Option<u64> {
        let mut quotient = 0_u64;
        while self.read(1)? == 1 {
            quotient += 1;
        }
        Some(quotient << k | self.read(k)?)
    }
}
