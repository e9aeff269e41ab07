//! The slices of one generation of one SLO in memory, as sums.

use std::collections::BTreeMap;

use super::ledger::{Ledger, Sums, WindowSums};
use super::{Counts, Slice};
use crate::budget::COVERAGE_FLOOR;
use crate::definition::{BudgetingMethod, SliceWidth};
use crate::querier::Group;

/// One run of slices without gap, from `first` (slices since 1970) on.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    width: SliceWidth,
    method: BudgetingMethod,
    first: i64,
    /// The measured share of each slice.
    coverage: Ledger,
    /// Slices that count for timeslices: 1 for those measured well enough.
    overall: Account,
    groups: BTreeMap<Group, Account>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    bad: Ledger,
    total: Ledger,
}

impl Account {
    fn sums(&self, start: usize, end: usize) -> Sums {
        Sums { bad: self.bad.sum(start, end), total: self.total.sum(start, end) }
    }
}

impl Timeline {
    /// A timeline without slices whose first one will be `first`.
    pub(crate) fn new(width: SliceWidth, method: BudgetingMethod, first: i64) -> Self {
        Self { width, method, first, coverage: Ledger::default(), overall: Account::default(), groups: BTreeMap::new() }
    }

    pub(crate) fn width(&self) -> SliceWidth {
        self.width
    }

    /// The first slice.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// The first slice of which something was measured; the one after the last when nothing was.
    pub(crate) fn first_measured(&self) -> i64 {
        let (mut low, mut high) = (0, self.coverage.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.coverage.sum(0, middle + 1) > 0.0 { high = middle } else { low = middle + 1 }
        }
        self.first.saturating_add(i64::try_from(low).unwrap_or(i64::MAX))
    }

    /// The slice after the last one.
    pub(crate) fn end(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.coverage.len()).unwrap_or(i64::MAX))
    }

    /// Until when slices are complete, in seconds.
    pub(crate) fn end_seconds(&self) -> i64 {
        self.end().saturating_mul(self.width.seconds())
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.keys()
    }

    /// Writes slices that overlap or touch the run. Nothing happens to slices that leave a gap.
    pub(crate) fn write(&mut self, first: i64, slices: &[Slice]) {
        if self.coverage.len() == 0 {
            self.first = first;
        }
        let front = usize::try_from(self.first.saturating_sub(first)).unwrap_or(0).min(slices.len());
        let (before, within) = slices.split_at(front);
        self.add_groups(slices);
        let within_first = first.saturating_add(i64::try_from(front).unwrap_or(i64::MAX));
        if !before.is_empty() && within_first == self.first {
            self.prepend(first, before);
        }
        let Ok(start) = usize::try_from(within_first.saturating_sub(self.first)) else { return };
        if !within.is_empty() && start <= self.coverage.len() {
            self.overwrite(start, within);
        }
    }

    /// Drops the slices before `first`.
    pub(crate) fn drop_before(&mut self, first: i64) {
        let count = usize::try_from(first.saturating_sub(self.first)).unwrap_or(0).min(self.coverage.len());
        self.coverage.drop_front(count);
        for account in self.groups.values_mut().chain([&mut self.overall]) {
            account.bad.drop_front(count);
            account.total.drop_front(count);
        }
        self.first = self.first.saturating_add(i64::try_from(count).unwrap_or(0));
        // Groups come and go; those that nothing is left of make room. For timeslices silence looks like good slices, and
        // they go when the slices are next read from the store.
        if self.method == BudgetingMethod::Occurrences {
            let left = self.coverage.len();
            self.groups.retain(|_, account| account.total.sum(0, left) > 0.0);
        }
    }

    /// The sums of the slices that begin from `start` to before `end`, in seconds. Time that no slice is kept of counts
    /// as unmeasured.
    pub(crate) fn window(&self, group: Option<&Group>, start: i64, end: i64) -> WindowSums {
        let (from, to) = (self.at(start), self.at(end));
        let width = self.width.seconds() as f64;
        let slices = (ceil_div(end, self.width.seconds()) - ceil_div(start, self.width.seconds())).max(0) as f64;
        let measured = self.coverage.sum(from, to);
        let coverage = if slices > 0.0 { (measured / slices).clamp(0.0, 1.0) } else { 0.0 };
        let sums = match group {
            None => self.overall.sums(from, to),
            // A group that is not known had no events; slices without events are good for timeslices.
            Some(group) => {
                self.groups.get(group).map_or_else(|| self.silent(from, to), |account| account.sums(from, to))
            }
        };
        WindowSums { sums, measured_seconds: measured * width, coverage }
    }

    fn silent(&self, from: usize, to: usize) -> Sums {
        match self.method {
            BudgetingMethod::Occurrences => Sums::default(),
            _ => Sums { bad: 0.0, total: self.overall.total.sum(from, to) },
        }
    }

    fn at(&self, seconds: i64) -> usize {
        let slice = ceil_div(seconds, self.width.seconds());
        usize::try_from(slice.saturating_sub(self.first)).unwrap_or(0).min(self.coverage.len())
    }

    fn add_groups(&mut self, slices: &[Slice]) {
        for group in slices.iter().flat_map(|slice| slice.groups.keys()) {
            // A group of the empty name is the SLO as a whole.
            if !group.is_empty() && !self.groups.contains_key(group) {
                let account = match self.method {
                    BudgetingMethod::Occurrences => {
                        Account { bad: Ledger::zeros(self.coverage.len()), total: Ledger::zeros(self.coverage.len()) }
                    }
                    _ => Account { bad: Ledger::zeros(self.coverage.len()), total: self.overall.total.clone() },
                };
                self.groups.insert(Group::clone(group), account);
            }
        }
    }

    fn overwrite(&mut self, start: usize, slices: &[Slice]) {
        let method = self.method;
        self.coverage.write(start, slices.iter().map(|slice| f64::from(slice.coverage)));
        let count = |slice: &Slice| entry(method, slice, slice.overall());
        self.overall.bad.write(start, slices.iter().map(|slice| count(slice).bad));
        self.overall.total.write(start, slices.iter().map(|slice| count(slice).total));
        for (group, account) in &mut self.groups {
            let count = |slice: &Slice| entry(method, slice, slice.groups.get(group).copied().unwrap_or_default());
            account.bad.write(start, slices.iter().map(|slice| count(slice).bad));
            account.total.write(start, slices.iter().map(|slice| count(slice).total));
        }
    }

    fn prepend(&mut self, first: i64, slices: &[Slice]) {
        let method = self.method;
        self.coverage.prepend(slices.iter().map(|slice| f64::from(slice.coverage)));
        let count = |slice: &Slice| entry(method, slice, slice.overall());
        self.overall.bad.prepend(slices.iter().map(|slice| count(slice).bad));
        self.overall.total.prepend(slices.iter().map(|slice| count(slice).total));
        for (group, account) in &mut self.groups {
            let count = |slice: &Slice| entry(method, slice, slice.groups.get(group).copied().unwrap_or_default());
            account.bad.prepend(slices.iter().map(|slice| count(slice).bad));
            account.total.prepend(slices.iter().map(|slice| count(slice).total));
        }
        self.first = first;
    }
}

/// What a slice adds to the sums of its budget.
fn entry(method: BudgetingMethod, slice: &Slice, counts: Counts) -> Counts {
    let bad_ratio = if counts.total > 0.0 { counts.bad / counts.total } else { 0.0 };
    let slice_bad = match method {
        BudgetingMethod::Occurrences => return counts,
        // A whisker of rounding must not make a slice at its target bad.
        BudgetingMethod::Timeslices { target } => f64::from(u8::from(1.0 - bad_ratio < target - 1e-12)),
        BudgetingMethod::RatioTimeslices => bad_ratio,
    };
    if f64::from(slice.coverage) >= COVERAGE_FLOOR { Counts { bad: slice_bad, total: 1.0 } } else { Counts::default() }
}

/// The first slice that begins at or after this second.
fn ceil_div(seconds: i64, width: i64) -> i64 {
    -(-seconds).div_euclid(width)
}
