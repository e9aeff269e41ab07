use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use std::sync::Arc;

/// What a test says of one dictionary entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    No,
    Yes,
    /// The entry has no such key; only tests of attributes say so.
    Absent,
}

impl From<bool> for Outcome {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// Remembers the outcome of a test for the entries of one dictionary. Batches of a row group or of the open buffer share
/// their dictionary, so that each distinct text is tested once.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Kept alive, so that another dictionary cannot take its address.
    values: Option<ArrayRef>,
    outcomes: Vec<Option<Outcome>>,
}

impl Memo {
    /// Starts over when the dictionary is another one.
    fn turn_to(&mut self, values: &ArrayRef) {
        if self.values.as_ref().is_some_and(|known| Arc::ptr_eq(known, values)) {
            return;
        }
        self.values = Some(Arc::clone(values));
        self.outcomes.clear();
        self.outcomes.resize(values.len(), None);
    }

    /// The outcome for each row that is selected; a null says [`Outcome::Absent`].
    pub(super) fn outcomes<'memo>(
        &'memo mut self,
        column: &'memo DictionaryArray<Int32Type>,
        mut test: impl FnMut(&str) -> Outcome + 'memo,
    ) -> impl FnMut(usize) -> Outcome + 'memo {
        self.turn_to(column.values());
        let values: &StringArray = column.values().as_string();
        let outcomes = &mut self.outcomes;
        move |row| {
            let Some(key) = column.key(row) else { return Outcome::Absent };
            let Some(known) = outcomes.get_mut(key) else { return Outcome::Absent };
            *known.get_or_insert_with(|| if values.is_null(key) { Outcome::Absent } else { test(values.value(key)) })
        }
    }
}

/// The rows of `selection` for which `test` says yes.
pub(super) fn select(selection: &BooleanBuffer, mut test: impl FnMut(usize) -> bool) -> BooleanBuffer {
    if selection.count_set_bits() * 8 < selection.len() {
        let mut selected = arrow::array::BooleanBufferBuilder::new(selection.len());
        selected.append_n(selection.len(), false);
        for row in selection.set_indices() {
            if test(row) {
                selected.set_bit(row, true);
            }
        }
        return selected.finish();
    }
    BooleanBuffer::collect_bool(selection.len(), |row| selection.value(row) && test(row))
}
