//! Authorization of commands: `(PeerIdentity, Request, Policy)` to [`Permit`] or [`Denied`].
//!
//! Pure, and deny by default. Knows no plugin: the existence of a command is not its concern.

mod pattern;

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

pub use pattern::CommandPattern;
pub(crate) use pattern::check_command_text;

use crate::identity::PeerIdentity;
use crate::wire::Request;

/// Each client's allowed commands. The operator chooses the keys, so a fast hash suffices.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    clients: HashMap<Arc<str>, Vec<CommandPattern>, FxBuildHasher>,
}

impl FromIterator<(Arc<str>, Vec<CommandPattern>)> for Policy {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Vec<CommandPattern>)>>(clients: I) -> Self {
        Self { clients: clients.into_iter().collect() }
    }
}

impl Policy {
    /// Returns true if the client of `identity` may run `command`.
    #[must_use]
    pub fn allows(&self, identity: &PeerIdentity, command: &str) -> bool {
        self.clients
            .get(identity.name())
            .is_some_and(|patterns| patterns.iter().any(|pattern| pattern.allows(command)))
    }
}

/// A request that its client may make. Only [`permit`] makes one, and `route` takes nothing else.
#[derive(Debug)]
pub struct Permit {
    request: Request,
}

impl Permit {
    /// The permitted request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

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

/// Permits `request` of `identity` if `policy` allows it.
///
/// # Errors
///
/// [`Denied`] if no pattern of the client matches, or the client is not in the policy.
pub fn permit(identity: &PeerIdentity, request: Request, policy: &Policy) -> Result<Permit, Denied> {
    if policy.allows(identity, request.command()) { Ok(Permit { request }) } else { Err(Denied { request }) }
}
