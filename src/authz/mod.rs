//! Authorization of commands: `(PeerIdentity, Request, Policy)` to [`Permit`] or [`Denied`].
//!
//! Deny by default, and pure but for the [note](crate::usage) that the pattern is used by which a request is
//! permitted. Knows no plugin: the existence of a command is not its concern. Denials of a client may be only
//! [reported](report) until a time; the caller hands in the present one.

mod arguments;
mod doubt;
mod pattern;
mod permission;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use rustc_hash::FxBuildHasher;

pub use arguments::Mismatch;
pub use doubt::{Doubt, doubt};
pub use pattern::CommandPattern;
pub(crate) use pattern::check_command_text;
pub use permission::{Near, PermissionPattern, Permissions};

use crate::identity::PeerIdentity;
use crate::usage::Observed;
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
    fn allows(&self, identity: &PeerIdentity, request: &Request) -> bool {
        self.allowing(identity, request).is_some()
    }

    /// Returns the first of the client's patterns that allows `request`, if it may make that.
    fn allowing(&self, identity: &PeerIdentity, request: &Request) -> Option<&Observed<PermissionPattern>> {
        self.clients.get(identity.name())?.allowing(request)
    }

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
        self.allows(identity, request) || self.reports(identity, request, now)
    }

    fn reports(&self, identity: &PeerIdentity, request: &Request, now: SystemTime) -> bool {
        self.clients.get(identity.name()).is_some_and(|permissions| permissions.reports(request, now))
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

/// A request that may be run for its client. Only [`permit`] and [`report`] make one, and `route` takes
/// nothing else.
#[derive(Debug)]
pub struct Permit {
    request: Request,
}

impl Permit {
    /// Returns the request.
    #[must_use]
    pub fn into_request(self) -> Request {
        self.request
    }
}

/// A request that its client may not make.
#[derive(Debug)]
pub struct Denied {
    /// The request, for the reply.
    pub request: Request,
}

/// Permits a request that was denied, if denials of its client are only reported at `now`. The caller reports
/// it when it runs.
///
/// Apart from [`permit`], so that an allowed request costs nothing more.
///
/// # Errors
///
/// The denial, if it stands.
pub fn report(
    identity: &PeerIdentity,
    denied: Denied,
    policy: &Policy,
    now: SystemTime,
) -> Result<Permit, Denied> {
    match policy.reports(identity, &denied.request, now) {
        true => Ok(Permit { request: denied.request }),
        false => Err(denied),
    }
}

/// Permits `request` of `identity` if `policy` allows it.
///
/// # Errors
///
/// [`Denied`] if no pattern of the client matches, or the client is not in the policy.
pub fn permit(identity: &PeerIdentity, request: Request, policy: &Policy) -> Result<Permit, Denied> {
    match policy.allowing(identity, &request) {
        Some(pattern) => {
            pattern.note();
            Ok(Permit { request })
        }
        None => Err(Denied { request }),
    }
}
