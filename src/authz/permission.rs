//! Permission patterns, and the lists of them by which a client or a plugin may run commands.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use super::arguments::{Arguments, MAX_WORDS, Mismatch, literal};
use super::pattern::CommandPattern;
use crate::text::InvalidText;
use crate::usage::{Observed, Used};
use crate::wire::Request;

/// The longest pattern, in bytes: it has to be readable in a fault and in `@commands`.
const MAX_BYTES: usize = 1024;

/// The most lists of which all have to allow a request. A failed reload adds one at most.
const MAX_LISTS: usize = 16;

/// A pattern of requests: a [`CommandPattern`], and perhaps a word for each argument. Without argument words
/// any arguments match. Cloning costs two increments.
#[derive(Clone)]
pub struct PermissionPattern {
    command: CommandPattern,
    /// `None` without argument words, which costs a request one comparison.
    arguments: Option<Arc<WithText>>,
}

/// A pattern of the request's command that does not allow its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near<'p> {
    /// The pattern.
    pub pattern: &'p PermissionPattern,
    /// Its first argument that does not match.
    pub mismatch: Mismatch,
}

impl fmt::Display for Near<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.pattern, self.mismatch)
    }
}

/// Argument words, and the whole pattern as written.
struct WithText {
    text: Box<str>,
    arguments: Arguments,
}

impl PermissionPattern {
    /// Returns true if the command and the arguments of `request` match.
    #[must_use]
    pub fn allows(&self, request: &Request) -> bool {
        self.command.allows(request.command()) && self.allows_arguments(request)
    }

    fn allows_arguments(&self, request: &Request) -> bool {
        let Some(with) = &self.arguments else { return true };
        let mut arguments = request.arguments();
        arguments.next();
        with.arguments.match_all(arguments)
    }

    /// Returns the pattern with the argument that does not match, if it allows the command of `request` but
    /// not its arguments.
    #[must_use]
    pub fn near(&self, request: &Request) -> Option<Near<'_>> {
        let with = self.arguments.as_ref().filter(|_| self.command.allows(request.command()))?;
        let mut arguments = request.arguments();
        arguments.next();
        Some(Near { pattern: self, mismatch: with.arguments.mismatch(arguments)? })
    }

    /// Writes the narrowest pattern that allows `request`: its command, with a word for each argument. A
    /// request that is too long for a pattern has `...` in place of its last arguments.
    #[must_use]
    pub fn only(request: &Request) -> String {
        let mut arguments = request.arguments();
        let mut text = arguments.next().unwrap_or_default().to_owned();
        if arguments.len() == 0 {
            return text + " .";
        }
        for (number, argument) in arguments.enumerate() {
            let word = literal(argument);
            if number + 3 > MAX_WORDS || text.len() + word.len() + " ...".len() + 1 > MAX_BYTES {
                return text + " ...";
            }
            text = text + " " + &word;
        }
        text
    }

    /// The pattern of the command, the first word.
    #[must_use]
    pub fn command(&self) -> &CommandPattern {
        &self.command
    }

    /// The argument words as written; `None` if any arguments match.
    #[must_use]
    pub fn arguments(&self) -> Option<&str> {
        let with = self.arguments.as_ref().filter(|with| !with.arguments.are_free())?;
        with.text.split_once(' ').map(|(_, words)| words)
    }

    /// Returns true if `self` allows every request that `other` allows. May miss that, but never claims it
    /// wrongly.
    fn covers(&self, other: &Self) -> bool {
        self.command.covers(&other.command)
            && match (&self.arguments, &other.arguments) {
                (None, _) => true,
                (Some(own), None) => own.arguments.are_free(),
                (Some(own), Some(other)) => own.arguments.covers(&other.arguments),
            }
    }
}

impl TryFrom<String> for PermissionPattern {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let Some((command, words)) = text.split_once(' ') else {
            return Ok(Self { command: text.try_into()?, arguments: None });
        };
        if text.len() > MAX_BYTES {
            let what = format!("a pattern has at most {MAX_BYTES} bytes, this has {}", text.len());
            return Err(InvalidText::new(what).advise("shorten it, with `*` for a part of an argument"));
        }
        if command.is_empty() {
            let advice = "write the command first, or its pattern, such as \"kv-*\"";
            return Err(InvalidText::new("the pattern begins with a space").advise(advice));
        }
        let before = command.chars().count() + 1;
        let command = CommandPattern::try_from(command.to_owned())?;
        let arguments = Arguments::parse(words, before)?;
        Ok(Self { command, arguments: Some(Arc::new(WithText { text: text.into(), arguments })) })
    }
}

impl FromStr for PermissionPattern {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::try_from(text.to_owned())
    }
}

impl AsRef<str> for PermissionPattern {
    fn as_ref(&self) -> &str {
        self.arguments.as_ref().map_or(self.command.as_ref(), |with| &with.text)
    }
}

impl PartialEq for PermissionPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for PermissionPattern {}

impl fmt::Display for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_ref())
    }
}

impl fmt::Debug for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_ref(), f)
    }
}

type Patterns = Arc<[Observed<PermissionPattern>]>;

/// Patterns of which one has to allow a request. After a reload that only narrowed them, also patterns of
/// every config since: two patterns of one command have no third that allows just what both allow.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    own: List,
    /// Lists of which each has to allow the request as well.
    within: Vec<List>,
}

/// Patterns of which one has to allow a request.
#[derive(Clone, PartialEq, Eq, Default)]
struct List {
    patterns: Patterns,
    /// The time until which plugins' commands that none of them allows are run and reported.
    report_until: Option<SystemTime>,
}

impl FromIterator<PermissionPattern> for Permissions {
    fn from_iter<I: IntoIterator<Item = PermissionPattern>>(patterns: I) -> Self {
        let patterns = patterns.into_iter().map(Observed::from).collect();
        Self { own: List { patterns, report_until: None }, within: Vec::new() }
    }
}

impl Permissions {
    /// Has plugins' commands that no pattern allows [reported](Self::reports) until this time.
    #[must_use]
    pub fn reporting_until(mut self, until: Option<SystemTime>) -> Self {
        self.own.report_until = until;
        self
    }

    /// Returns true if `request` is allowed.
    #[must_use]
    pub fn allows(&self, request: &Request) -> bool {
        self.allowing(request).is_some()
    }

    /// Returns the first pattern that allows `request`, if it is allowed.
    #[must_use]
    pub fn allowing(&self, request: &Request) -> Option<&Observed<PermissionPattern>> {
        let found = first_allowing(&self.own.patterns, request)?;
        let is_within = |list: &List| first_allowing(&list.patterns, request).is_some();
        self.within.iter().all(is_within).then_some(found)
    }

    /// Returns true if `request`, which is not allowed, is to be run at `now` and reported.
    #[must_use]
    pub fn reports(&self, request: &Request, now: SystemTime) -> bool {
        let is_fine = |list: &List| list.reports_at(now) || first_allowing(&list.patterns, request).is_some();
        !request.command().starts_with('@')
            && self.lists().any(|list| list.reports_at(now))
            && self.lists().all(is_fine)
    }

    /// The last time until which some command is reported, if any is.
    #[must_use]
    pub fn report_until(&self) -> Option<SystemTime> {
        self.lists().filter_map(|list| list.report_until).max()
    }

    /// Returns true if reporting ended, by one list at least, after `since` and at `now` at the latest.
    pub(super) fn ended_reporting(&self, since: SystemTime, now: SystemTime) -> bool {
        let mut ends = self.lists().filter_map(|list| list.report_until);
        ends.any(|until| since < until && until <= now)
    }

    /// The patterns, without those that only narrow them.
    #[must_use]
    pub fn patterns(&self) -> impl ExactSizeIterator<Item = &PermissionPattern> {
        self.own.patterns.iter().map(|pattern| &**pattern)
    }

    /// Returns the same permissions, whose use is noted in what `used` returns for each pattern.
    #[must_use]
    pub fn observed(&self, used: impl Fn(&PermissionPattern) -> Used) -> Self {
        let observed = |pattern: &PermissionPattern| Observed::new(pattern.clone(), used(pattern));
        let patterns = self.patterns().map(observed).collect();
        Self { own: List { patterns, ..self.own }, within: self.within.clone() }
    }

    /// Returns the patterns that allow `command` with some arguments; none if a narrowed list does not.
    #[must_use]
    pub fn of_command(&self, command: &str) -> Vec<&PermissionPattern> {
        let fits = |pattern: &&PermissionPattern| pattern.command.allows(command);
        if !self.within.iter().all(|list| list.patterns.iter().any(|pattern| fits(&&**pattern))) {
            return Vec::new();
        }
        self.patterns().filter(fits).collect()
    }

    /// Returns the patterns that allow the command of `request` but not its arguments, closest first.
    #[must_use]
    pub fn near(&self, request: &Request) -> Vec<Near<'_>> {
        let patterns = self.lists().flat_map(|list| list.patterns.iter());
        let mut near: Vec<_> = patterns.filter_map(|pattern| pattern.near(request)).collect();
        near.sort_by_key(|near| std::cmp::Reverse(near.mismatch.matched()));
        near
    }

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

    fn lists(&self) -> impl Iterator<Item = &List> {
        std::iter::once(&self.own).chain(&self.within)
    }
}

impl List {
    fn reports_at(&self, now: SystemTime) -> bool {
        self.report_until.is_some_and(|until| now < until)
    }

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

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.patterns()).finish()
    }
}

fn first_allowing<'l>(
    list: &'l [Observed<PermissionPattern>],
    request: &Request,
) -> Option<&'l Observed<PermissionPattern>> {
    let command = request.command();
    list.iter().find(|pattern| pattern.command.allows(command) && pattern.allows_arguments(request))
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
