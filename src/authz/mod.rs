//! Authorization of commands: `(PeerIdentity, Request, Policy)` to a [`Permit`], or none.
//!
//! Deny by default, and pure but for the [note](crate::usage) that the pattern is used by which a request is
//! permitted. Knows no plugin: the existence of a command is not its concern. Denials of a client may be only
//! [reported](Grounds::Reported) until a time; the caller hands in the present one.

mod arguments;
mod doubt;
mod narrow;
mod pattern;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustc_hash::FxBuildHasher;

pub use arguments::Mismatch;
pub use doubt::{Doubt, doubt};
pub(crate) use pattern::check_command_text;
pub use pattern::{CommandPattern, Near, PermissionPattern};

use crate::identity::PeerIdentity;
use crate::usage::{Observed, Used};
use crate::wire::Request;

/// The most patterns named to whoever asks why a request is forbidden.
const MAX_NAMED: usize = 3;

/// Each client's permissions. The operator chooses the keys, so a fast hash suffices.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    clients: HashMap<Arc<str>, Permissions, FxBuildHasher>,
}

impl FromIterator<(Arc<str>, Permissions)> for Policy {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Permissions)>>(clients: I) -> Self {
        Self { clients: clients.into_iter().collect() }
    }
}

impl Policy {
    /// Names the client's patterns that allow the command of `request` but not its arguments, the closest
    /// first; `None` if there are none, or `request` is allowed.
    #[must_use]
    pub fn closest(&self, identity: &PeerIdentity, request: &Request) -> Option<String> {
        let permissions = self.clients.get(identity.name())?;
        let near = if permissions.allows(request) { Vec::new() } else { permissions.near(request) };
        let named: Vec<_> = near.iter().take(MAX_NAMED).map(ToString::to_string).collect();
        (!named.is_empty()).then(|| named.join(", "))
    }

    /// Returns true if `request` of the client of `identity` may run at `now`, permitted or reported.
    #[must_use]
    pub fn lets_run(&self, identity: &PeerIdentity, request: &Request, now: SystemTime) -> bool {
        let lets_run = |it: &Permissions| it.allows(request) || it.reports(request, now);
        self.clients.get(identity.name()).is_some_and(lets_run)
    }

    /// The clients whose denials are only reported at `now`, by name, each with the end of that.
    #[must_use]
    pub fn reporting(&self, now: SystemTime) -> BTreeMap<&str, SystemTime> {
        let until = |permissions: &Permissions| permissions.report_until().filter(|until| now < *until);
        self.clients.iter().filter_map(|(client, it)| Some((&**client, until(it)?))).collect()
    }

    /// Returns true if reporting denials of a client ended after `since` and at `now` at the latest.
    #[must_use]
    pub fn ended_reporting(&self, since: SystemTime, now: SystemTime) -> bool {
        self.clients.values().any(|permissions| permissions.ended_reporting(since, now))
    }

    /// Returns the client's patterns that allow `command` with some arguments.
    #[must_use]
    pub fn of_command(&self, identity: &PeerIdentity, command: &str) -> Vec<&PermissionPattern> {
        let permissions = self.clients.get(identity.name());
        permissions.map(|permissions| permissions.of_command(command)).unwrap_or_default()
    }
}

/// A request that may be run for its client. Only [`permit`] makes one, and `route` takes nothing else.
#[derive(Debug)]
pub struct Permit<'r> {
    request: &'r Request,
    grounds: Grounds,
}

/// The grounds on which a request may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// A pattern allows it.
    Allowed,
    /// No pattern does, but denials of its client are only reported. Whoever runs it reports it.
    Reported,
}

impl<'r> Permit<'r> {
    /// Returns the request.
    #[must_use]
    pub fn request(&self) -> &'r Request {
        self.request
    }

    /// Returns the grounds on which it may be run.
    #[must_use]
    pub fn grounds(&self) -> Grounds {
        self.grounds
    }
}

/// Permits `request` of `identity` if `policy` allows it, or has denials of it only reported at the time that
/// `now` returns; `None` if it is denied. An allowed request asks for no time.
pub fn permit<'r>(
    identity: &PeerIdentity,
    request: &'r Request,
    policy: &Policy,
    now: impl FnOnce() -> SystemTime,
) -> Option<Permit<'r>> {
    let permissions = policy.clients.get(identity.name())?;
    let grounds = match permissions.allowing(request) {
        Some(pattern) => {
            pattern.note();
            Grounds::Allowed
        }
        None if permissions.reports(request, now()) => Grounds::Reported,
        None => return None,
    };
    Some(Permit { request, grounds })
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
        let fits = |pattern: &&PermissionPattern| pattern.command().allows(command);
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

    fn lists(&self) -> impl Iterator<Item = &List> {
        std::iter::once(&self.own).chain(&self.within)
    }
}

impl List {
    fn reports_at(&self, now: SystemTime) -> bool {
        self.report_until.is_some_and(|until| now < until)
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
    list.iter().find(|pattern| pattern.command().allows(command) && pattern.allows_arguments(request))
}
