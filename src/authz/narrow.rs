//! Permissions that are narrowed to those of another config.

use super::pattern::PermissionPattern;
use super::{List, Patterns, Permissions};
use crate::usage::Observed;

/// The most lists of which all have to allow a request. A failed reload adds one at most.
const MAX_LISTS: usize = 16;

impl Permissions {
    /// Returns permissions that allow, and report, just the requests that both `self` and `wanted` allow or
    /// report; `self` if that is all of them.
    #[must_use]
    pub fn narrowed_to(&self, wanted: &Self) -> Self {
        wanted.lists().fold(self.clone(), Self::within)
    }

    fn within(self, wanted: &List) -> Self {
        if self.lists().any(|list| wanted.covers(list)) {
            return self;
        }
        let mut lists: Vec<_> = self.lists().filter(|list| !list.covers(wanted)).cloned().collect();
        let is_full = lists.len() == MAX_LISTS;
        match lists.last_mut().filter(|_| is_full) {
            // Too many to keep. This may allow less than both do, but nothing that one of them does not.
            Some(last) => *last = last.surely_with(wanted),
            None => lists.push(wanted.clone()),
        }
        let mut lists = lists.into_iter();
        Self { own: lists.next().unwrap_or_default(), within: lists.collect() }
    }
}

impl List {
    /// Returns true if at any time `self` allows or reports each request that `other` does. May miss that.
    fn covers(&self, other: &Self) -> bool {
        cover(&self.patterns, &other.patterns) && other.report_until <= self.report_until
    }

    /// Returns a list that allows and reports nothing but what both do; it may miss some.
    fn surely_with(&self, other: &Self) -> Self {
        let patterns = surely_in_both(&self.patterns, &other.patterns);
        Self { patterns, report_until: self.report_until.min(other.report_until) }
    }
}

/// Returns true if each pattern of `other` is covered by one of `list`.
fn cover(list: &[Observed<PermissionPattern>], other: &[Observed<PermissionPattern>]) -> bool {
    other.iter().all(|other| list.iter().any(|pattern| pattern.covers(other)))
}

/// Returns the patterns of either list that the other covers.
fn surely_in_both(a: &[Observed<PermissionPattern>], b: &[Observed<PermissionPattern>]) -> Patterns {
    let covered = |patterns: &[Observed<PermissionPattern>], by: &[Observed<PermissionPattern>]| {
        let is_covered =
            |pattern: &&Observed<PermissionPattern>| by.iter().any(|other| other.covers(pattern));
        patterns.iter().filter(is_covered).cloned().collect::<Vec<_>>()
    };
    covered(a, b).into_iter().chain(covered(b, a)).collect()
}
