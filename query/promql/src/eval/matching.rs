//! Operators between vectors: series match by their labels.

use hashbrown::HashMap;

use super::matrix::{ABSENT, Column, Sample, Values, is_absent, merge_same_labels};
use super::operators::{apply, arithmetic, comparison};
use super::{Evaluator, QueryError, Result, Steps};
use crate::ast::{Binary, Cardinality, Position};
use crate::labels::{Labels, METRIC_NAME, METRIC_TYPE, METRIC_UNIT};
use crate::value::SampleValue;

/// The columns of both sides with the same signature. `one` is the side of which there may be one only at a time.
#[derive(Debug, Default)]
struct MatchGroup {
    many: Vec<usize>,
    one: Vec<usize>,
}

struct Matcher<'a> {
    evaluator: &'a Evaluator<'a>,
    binary: &'a Binary,
    position: Position,
    /// The left side, unless there is `group_right`.
    many: &'a [Column],
    one: &'a [Column],
    /// Whether the left side is `one`.
    swapped: bool,
    steps: Steps,
}

impl Evaluator<'_> {
    pub(super) fn match_vectors(
        &self,
        binary: &Binary,
        position: Position,
        left: Vec<Column>,
        right: Vec<Column>,
        steps: Steps,
    ) -> Result<Values> {
        let swapped = binary.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
        let matcher = Matcher { evaluator: self, binary, position, many, one, swapped, steps };
        self.finish(matcher.run()?)
    }
}

impl Matcher<'_> {
    fn run(&self) -> Result<Vec<Column>> {
        let mut groups: Vec<MatchGroup> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut place = |labels: &Labels, groups: &mut Vec<MatchGroup>| {
            *places.entry(self.binary.matching.signature(labels)).or_insert_with(|| {
                groups.push(MatchGroup::default());
                groups.len() - 1
            })
        };
        for (index, column) in self.many.iter().enumerate() {
            let place = place(&column.labels, &mut groups);
            groups[place].many.push(index);
        }
        for (index, column) in self.one.iter().enumerate() {
            let place = place(&column.labels, &mut groups);
            groups[place].one.push(index);
        }
        let mut output = Vec::new();
        for group in &groups {
            self.evaluator.check()?;
            self.check_one_side(group)?;
            output.extend(self.match_group(group)?);
        }
        Ok(output)
    }

    fn has_fill(&self) -> bool {
        self.binary.matching.fill_left.is_some() || self.binary.matching.fill_right.is_some()
    }

    /// Two series of the side of which there may be one only must not be there at the same time.
    fn check_one_side(&self, group: &MatchGroup) -> Result<()> {
        if group.one.len() < 2 {
            return Ok(());
        }
        for step in 0..self.steps.count {
            let mut present = group.one.iter().map(|index| &self.one[*index]).filter(|column| column.has(step));
            let (Some(first), Some(second)) = (present.next(), present.next()) else { continue };
            // Where one side is empty, nothing is matched.
            let nothing = !self.has_fill() && !self.many.iter().any(|column| column.has(step));
            if nothing {
                continue;
            }
            let side = if self.swapped { "left" } else { "right" };
            let signature = self.matched_labels(&first.labels);
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {signature} on the {side} hand-side of the operation: \
                 [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                second.labels, first.labels
            )));
        }
        Ok(())
    }

    /// The labels on which a series matches, as far as it has them.
    fn matched_labels(&self, labels: &Labels) -> Labels {
        self.binary.matching.signature(labels)
    }

    /// What stands for a missing series of the side of many, and of the side of one.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        let matching = &self.binary.matching;
        let (left, right) = (matching.fill_left, matching.fill_right);
        if self.swapped { (right, left) } else { (left, right) }
    }

    fn match_group(&self, group: &MatchGroup) -> Result<Vec<Column>> {
        let (fill_many, fill_one) = self.fills();
        let count = self.steps.count;
        let mut output = Vec::new();
        let choice = self.choose_one(group);
        for many in group.many.iter().map(|index| &self.many[*index]) {
            match group.one[..] {
                [] => {}
                [one] => output.push(self.combine(many, &self.one[one])),
                _ => self.combine_chosen(many, &choice, &mut output),
            }
            if let Some(fill) = fill_one {
                let unmatched =
                    |step: usize| many.has(step) && !group.one.iter().any(|index| self.one[*index].has(step));
                let filler = self.filler(&many.labels, fill, count, unmatched);
                if !filler.is_empty() {
                    output.push(self.combine(many, &filler));
                }
            }
        }
        self.check_many_side(group, fill_one.is_some())?;
        if let Some(fill) = fill_many {
            for one in group.one.iter().map(|index| &self.one[*index]) {
                let unmatched =
                    |step: usize| one.has(step) && !group.many.iter().any(|index| self.many[*index].has(step));
                let filler = self.filler(&one.labels, fill, count, unmatched);
                if !filler.is_empty() {
                    output.push(self.combine(&filler, one));
                }
            }
        }
        output.retain(|column| !column.is_empty());
        merge_same_labels(output).map_err(|_| ambiguous("grouping labels must ensure unique matches"))
    }

    fn filler(&self, labels: &Labels, fill: f64, count: usize, at: impl Fn(usize) -> bool) -> Column {
        let floats = (0..count).map(|step| if at(step) { fill } else { ABSENT }).collect();
        Column { labels: self.matched_labels(labels), floats, ..Column::default() }
    }

    /// One series cannot match several, unless it is asked for; even if a comparison would drop the result.
    fn check_many_side(&self, group: &MatchGroup, fills: bool) -> Result<()> {
        if group.many.len() < 2 {
            return Ok(());
        }
        if self.binary.matching.cardinality == Cardinality::OneToOne {
            let many: Vec<usize> = group.many.clone();
            let has_one = |step: usize| fills || group.one.iter().any(|index| self.one[*index].has(step));
            if self.meet(&many, has_one) {
                return Err(ambiguous("many-to-one matching must be explicit (group_left/group_right)"));
            }
            return Ok(());
        }
        for one in group.one.iter().map(|index| &self.one[*index]) {
            let mut same: HashMap<Labels, Vec<usize>> = HashMap::new();
            for index in &group.many {
                same.entry(self.result_labels(&self.many[*index].labels, &one.labels)).or_default().push(*index);
            }
            if same.values().any(|many| self.meet(many, |step| one.has(step))) {
                return Err(ambiguous("grouping labels must ensure unique matches"));
            }
        }
        Ok(())
    }

    /// Whether two of these series are there at one step.
    fn meet(&self, many: &[usize], is_relevant: impl Fn(usize) -> bool) -> bool {
        many.len() > 1
            && (0..self.steps.count).any(|step| {
                is_relevant(step) && many.iter().filter(|index| self.many[**index].has(step)).nth(1).is_some()
            })
    }

    /// Which series of the side of one is there at each step, if there are several over time.
    fn choose_one(&self, group: &MatchGroup) -> Vec<Option<usize>> {
        if group.one.len() < 2 {
            return Vec::new();
        }
        let at = |step: usize| group.one.iter().copied().find(|index| self.one[*index].has(step));
        (0..self.steps.count).map(at).collect()
    }

    /// The operator at all steps, with another series of the side of one from time to time.
    fn combine_chosen(&self, many: &Column, choice: &[Option<usize>], output: &mut Vec<Column>) {
        let first = output.len();
        let mut place: Option<(usize, usize)> = None;
        for (step, chosen) in choice.iter().enumerate() {
            let Some((index, sample)) = chosen.zip(many.at(step)) else { continue };
            let one = &self.one[index];
            let Some(other) = one.at(step) else { continue };
            let (left, right) = if self.swapped { (other, sample) } else { (sample, other) };
            let Some(value) = self.combine_samples(left, right) else { continue };
            let column = match place.filter(|(chosen, _)| *chosen == index) {
                Some((_, column)) => column,
                None => {
                    let labels = self.result_labels(&many.labels, &one.labels);
                    let known = output[first..].iter().position(|column| column.labels == labels);
                    known.map_or_else(
                        || {
                            let drops_name = self.binary.returns_bool;
                            output.push(Column { drops_name, ..Column::empty(labels, self.steps.count) });
                            output.len() - 1
                        },
                        |known| first + known,
                    )
                }
            };
            place = Some((index, column));
            output[column].set(step, value);
        }
    }

    /// The labels of the result.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.binary.matching;
        let changes = self.binary.op.changes_metric();
        let is_named = |name: &str| matching.labels.iter().any(|label| label == name);
        let is_kept = |name: &str| {
            if changes && matches!(name, METRIC_NAME | METRIC_TYPE | METRIC_UNIT) {
                return false;
            }
            matching.cardinality != Cardinality::OneToOne || is_named(name) == matching.on
        };
        let mut labels = many.filtered(is_kept);
        for name in &matching.include {
            labels = labels.with(name, one.get(name));
        }
        if !self.evaluator.options.delayed_name_removal && self.binary.returns_bool {
            labels = labels.without_metadata();
        }
        labels
    }

    /// The operator at all steps where both sides are there.
    fn combine(&self, many: &Column, one: &Column) -> Column {
        let labels = self.result_labels(&many.labels, &one.labels);
        let mut output = Column::empty(labels, self.steps.count);
        output.drops_name = self.binary.returns_bool;
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        if left.histograms.is_empty() && right.histograms.is_empty() && self.combine_floats(left, right, &mut output) {
            return output;
        }
        for step in 0..self.steps.count {
            let (Some(left), Some(right)) = (left.at(step), right.at(step)) else { continue };
            if let Some(value) = self.combine_samples(left, right) {
                output.set(step, value);
            }
        }
        output
    }

    fn combine_samples(&self, left: Sample<'_>, right: Sample<'_>) -> Option<SampleValue> {
        let outcome = apply(self.binary.op, left, right, |note| self.evaluator.note(note, self.position))?;
        if self.binary.returns_bool {
            return Some(SampleValue::Float(f64::from(u8::from(outcome.holds))));
        }
        outcome.holds.then_some(outcome.value)
    }

    /// Where there are only floats. Says whether the operator is one of floats.
    fn combine_floats(&self, left: &Column, right: &Column, output: &mut Column) -> bool {
        let pairs = output.floats.iter_mut().zip(left.floats.iter().zip(&right.floats));
        let present = pairs.filter(|(_, (left, right))| !is_absent(**left) && !is_absent(**right));
        if let Some(function) = arithmetic(self.binary.op) {
            present.for_each(|(result, (left, right))| *result = function(*left, *right));
            return true;
        }
        let Some(holds) = comparison(self.binary.op) else { return false };
        present.for_each(|(result, (left, right))| {
            *result = match (self.binary.returns_bool, holds(*left, *right)) {
                (true, holds) => f64::from(u8::from(holds)),
                (false, true) => *left,
                (false, false) => ABSENT,
            };
        });
        true
    }
}

fn ambiguous(message: &str) -> QueryError {
    QueryError::Execution(format!("multiple matches for labels: {message}"))
}
