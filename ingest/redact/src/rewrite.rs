//! A message that is copied around what changed in it. Nothing is allocated before the first change.

use crate::wire::write_bytes;

/// The copy of a message.
#[derive(Debug)]
pub(crate) struct Rewrite<'a> {
    message: &'a [u8],
    /// How much of the message is in the output, or left out of it on purpose.
    copied: usize,
    output: Option<Vec<u8>>,
}

/// A field by where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl<'a> Rewrite<'a> {
    #[inline]
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, copied: 0, output: None }
    }

    /// Gives a field other content.
    pub(crate) fn replace(&mut self, place: Place, number: u32, content: &[u8]) {
        write_bytes(self.output_until(place), number, content);
    }

    /// Leaves a field out.
    pub(crate) fn remove(&mut self, place: Place) {
        self.output_until(place);
    }

    /// Puts other bytes, whole fields, in the place of a field.
    pub(crate) fn splice(&mut self, place: Place, fields: &[u8]) {
        self.output_until(place).extend_from_slice(fields);
    }

    /// Copies what stands before a field and passes over it.
    fn output_until(&mut self, place: Place) -> &mut Vec<u8> {
        let output = self.output.get_or_insert_with(|| Vec::with_capacity(self.message.len()));
        output.extend_from_slice(self.message.get(self.copied..place.start).unwrap_or_default());
        self.copied = place.end;
        output
    }

    /// The new message; `None` when it is the old one.
    #[inline]
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let mut output = self.output?;
        output.extend_from_slice(self.message.get(self.copied..).unwrap_or_default());
        Some(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_other_bytes() {
        let message = [0x0a, 1, b'a', 0x12, 1, b'b', 0x18, 7, 0x22, 1, b'd'];
        assert_eq!(Rewrite::new(&message).finish(), None);
        let mut rewrite = Rewrite::new(&message);
        rewrite.remove(Place { start: 0, end: 3 });
        rewrite.replace(Place { start: 3, end: 6 }, 2, b"xyz");
        rewrite.splice(Place { start: 11, end: 11 }, &[0x28, 1]);
        let expected = [0x12, 3, b'x', b'y', b'z', 0x18, 7, 0x22, 1, b'd', 0x28, 1];
        assert_eq!(rewrite.finish().as_deref(), Some(&expected[..]));
    }
}
