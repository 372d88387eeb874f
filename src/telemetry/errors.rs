//! Refused connections and failed commands, added up so that an operator sees each kind once.
//!
//! Kinds are counted by who caused them, so that whoever causes many kinds loses those of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::ids::ConnectionId;
use crate::network::{Network, PeerAddress};
use crate::sync::locked;
use crate::text::shown;

/// Maximum kinds of failed commands, and of refused connections, that are kept.
const MAX_KINDS: usize = 256;

/// Maximum characters kept of a text.
const MAX_CHARS: usize = 256;

/// The refused connections and failed commands of this process.
pub static ERRORS: Errors =
    Errors { commands: Mutex::new(Table::new(MAX_KINDS)), connections: Mutex::new(Table::new(MAX_KINDS)) };

/// Refused connections and failed commands since the start.
#[derive(Debug)]
pub struct Errors {
    commands: Mutex<Table<FailedCommand>>,
    connections: Mutex<Table<RefusedConnection>>,
}

/// A kind of error. Errors of one kind are added up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The client, or the network of a stranger.
    pub by: Arc<str>,
    /// The code of a failure, or the reason of a refusal.
    pub reason: &'static str,
    /// The command, or the thumbprint of a certificate; empty for all names that are no commands.
    pub of: Arc<str>,
}

/// The errors of one kind.
#[derive(Clone, Debug)]
pub struct Tally<E> {
    /// The time of the first.
    pub first: SystemTime,
    /// The time of the last.
    pub last: SystemTime,
    /// Their number.
    pub count: u64,
    /// The last that was described.
    pub example: E,
}

/// A command that failed or was refused. Its texts are escaped and of bounded length.
#[derive(Clone, Debug)]
pub struct FailedCommand {
    /// Its request's name in the log; of a fault of the wire its connection's.
    pub id: String,
    /// Its command.
    pub command: String,
    /// The plugin of that command; empty for a built-in and for an unknown command.
    pub plugin: Arc<str>,
    /// The plugin that ran it for its client, if any.
    pub via: Option<String>,
    /// The words of a forbidden request, if they are logged and not many.
    pub words: Option<Vec<String>>,
    /// Details in words, if there are any.
    pub detail: Option<String>,
}

/// A connection that was refused. Its texts are escaped and of bounded length.
#[derive(Clone, Debug)]
pub struct RefusedConnection {
    /// Its name in the log, if it had one.
    pub id: Option<ConnectionId>,
    /// The address of the peer.
    pub peer: PeerAddress,
    /// The reason in words.
    pub words: String,
    /// Advice for the operator; empty if there is none.
    pub advice: &'static str,
}

/// Kinds that are not kept any more, as there were too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Number of kinds. One that comes again counts again.
    pub kinds: u64,
    /// Number of errors.
    pub errors: u64,
}

/// Kinds with their tallies, and what is left out.
pub(super) type Listed<E> = (Vec<(Kind, Tally<E>)>, LeftOut);

impl Errors {
    /// Adds a failed command.
    pub(super) fn add_command(&self, kind: Kind, example: FailedCommand) {
        locked(&self.commands).add(kind, SystemTime::now(), example);
    }

    /// Adds failed commands that were only counted.
    pub(super) fn count_commands(&self, kind: &Kind, count: u64) {
        locked(&self.commands).count(kind, SystemTime::now(), count);
    }

    /// Adds a fault of the wire, after which the connection of a client ends.
    pub fn add_fault(&self, client: Arc<str>, connection: ConnectionId, fault: &str) {
        let kind = Kind { by: client, reason: "bad-request", of: Arc::default() };
        let example = FailedCommand {
            id: connection.to_string(),
            command: String::new(),
            plugin: Arc::default(),
            via: None,
            words: None,
            detail: Some(shown(fault, MAX_CHARS).to_string()),
        };
        self.add_command(kind, example);
    }

    /// Adds a refused connection: for this `reason`, in these `words`, and of the client or the certificate
    /// `of`, if that is known.
    pub fn add_connection(
        &self,
        (id, peer): (Option<ConnectionId>, PeerAddress),
        reason: &'static str,
        of: &str,
        words: &str,
        advice: &'static str,
    ) {
        let widest = Network::all_of(peer).last().map_or(peer.ip(), |network| network.address());
        let kind = Kind { by: widest.to_string().into(), reason, of: of.into() };
        let words = shown(words, MAX_CHARS).to_string();
        let example = RefusedConnection { id, peer, words, advice };
        locked(&self.connections).add(kind, SystemTime::now(), example);
    }

    /// Returns the kinds of failed commands, in no order.
    #[must_use]
    pub fn commands(&self) -> Listed<FailedCommand> {
        locked(&self.commands).list()
    }

    /// Returns the kinds of refused connections, in no order.
    #[must_use]
    pub fn connections(&self) -> Listed<RefusedConnection> {
        locked(&self.connections).list()
    }
}

/// Tallies of a bounded number of kinds.
#[derive(Debug)]
struct Table<E> {
    most: usize,
    tallies: BTreeMap<Kind, Tally<E>>,
    left_out: LeftOut,
}

impl<E: Clone> Table<E> {
    const fn new(most: usize) -> Self {
        Self { most, tallies: BTreeMap::new(), left_out: LeftOut { kinds: 0, errors: 0 } }
    }

    fn add(&mut self, kind: Kind, at: SystemTime, example: E) {
        if let Some(tally) = self.tallies.get_mut(&kind) {
            (tally.last, tally.example) = (at, example);
            tally.count += 1;
            return;
        }
        if self.tallies.len() >= self.most {
            self.make_room(&kind.by);
        }
        self.tallies.insert(kind, Tally { first: at, last: at, count: 1, example });
    }

    fn count(&mut self, kind: &Kind, at: SystemTime, count: u64) {
        match self.tallies.get_mut(kind) {
            Some(tally) => {
                tally.last = at;
                tally.count += count;
            }
            None => self.left_out.errors += count,
        }
    }

    /// Leaves out a kind for one more of `by`: of those who have the most kinds, the one that came least
    /// often, and of several the one that came longest ago.
    fn make_room(&mut self, by: &Arc<str>) {
        let mut kinds = HashMap::from([(by, 1)]);
        for kind in self.tallies.keys() {
            *kinds.entry(&kind.by).or_default() += 1;
        }
        let most = kinds.values().copied().max().unwrap_or_default();
        let of_most = self.tallies.iter().filter(|(kind, _)| kinds.get(&kind.by) == Some(&most));
        let Some((kind, tally)) = of_most.min_by_key(|(_, tally)| (tally.count, tally.last)) else { return };
        let (kind, count) = (kind.clone(), tally.count);
        self.left_out.kinds += 1;
        self.left_out.errors += count;
        self.tallies.remove(&kind);
    }

    fn list(&self) -> Listed<E> {
        let tallies = self.tallies.iter().map(|(kind, tally)| (kind.clone(), tally.clone()));
        (tallies.collect(), self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 8;

    fn kind(by: u8, of: u8) -> Kind {
        Kind { by: by.to_string().into(), reason: "busy", of: of.to_string().into() }
    }

    proptest! {
        /// Whatever comes, nothing is lost untold, and who causes few kinds keeps them.
        #[test]
        fn the_number_of_kinds_is_bounded_and_every_error_is_counted(
            errors in prop::collection::vec((0_u8..5, 0_u8..20, 1_u64..4), 0..400)
        ) {
            let mut table = Table::new(MOST);
            let mut all = 0;
            let mut kinds = HashSet::new();
            for (second, (by, of, count)) in (0..).zip(&errors) {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
                table.add(kind(*by, *of), at, ());
                table.count(&kind(*by, *of), at, count - 1);
                kinds.insert((*by, *of));
                all += count;
                prop_assert!(table.tallies.len() <= MOST);
                prop_assert!(table.tallies.contains_key(&kind(*by, *of)), "the newest is there");
            }
            let (listed, left_out) = table.list();
            prop_assert_eq!(listed.iter().map(|(_, tally)| tally.count).sum::<u64>() + left_out.errors, all);
            prop_assert_eq!(listed.len() < kinds.len(), left_out.kinds > 0 && listed.len() < kinds.len());
            // With five who cause errors, each has at least one of eight places.
            for by in 0..5_u8 {
                let of = kinds.iter().filter(|(it, _)| *it == by).count();
                let kept = listed.iter().filter(|(kind, _)| *kind.by == *by.to_string()).count();
                prop_assert!(of == 0 || kept > 0, "{by} has none of {of}");
            }
        }
    }

    #[test]
    fn a_flood_of_kinds_of_one_pushes_out_its_own_alone() {
        let mut table = Table::new(MOST);
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        for by in 1..4 {
            table.add(kind(by, 0), at(0), ());
        }
        table.add(kind(0, 255), at(1), ());
        table.add(kind(0, 255), at(1), ());
        for of in 0..200 {
            table.add(kind(0, of), at(2 + u64::from(of)), ());
        }
        for kept in [kind(1, 0), kind(2, 0), kind(3, 0), kind(0, 255), kind(0, 199)] {
            assert!(table.tallies.contains_key(&kept), "{kept:?}");
        }
        assert_eq!(table.left_out, LeftOut { kinds: 196, errors: 196 });
        table.count(&kind(0, 0), at(300), 5);
        assert_eq!(table.left_out.errors, 201);
        assert_eq!(table.list().0.len(), MOST);
    }
}
