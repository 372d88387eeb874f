//! Choice of connections by the arguments of `@clients` and `@kick`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::server::registry::ConnectionHandle;
use crate::telemetry::ConnectionId;
use crate::text::{Glob, shown};
use crate::units::TimeSpan;
use crate::wire::{Code, CommandError, Request};

/// The conditions in words, for refusals and documents.
pub(super) const CONDITIONS: &str =
    "client=NAME, address=NETWORK, id=CONNECTION, idle>TIME, idle<TIME, age>TIME, age<TIME";

/// Conditions that a connection has to meet, each of them.
#[derive(Default)]
pub(super) struct Filter {
    clients: Vec<Glob>,
    connection: Vec<Condition>,
}

/// A condition on a connection, whoever its client is.
enum Condition {
    Id(ConnectionId),
    In(IpNet),
    Time(Time, Bound, Duration),
}

enum Time {
    /// Since the last request, or the admission.
    Idle,
    /// Since the admission.
    Age,
}

pub(super) enum Bound {
    Above,
    Below,
}

impl Bound {
    /// Returns true if `time` is on the right side of `limit`.
    pub(super) fn admits(&self, time: Duration, limit: Duration) -> bool {
        match self {
            Self::Above => time > limit,
            Self::Below => time < limit,
        }
    }
}

impl Filter {
    /// Reads the conditions among the arguments of a request.
    ///
    /// # Errors
    ///
    /// The argument that is no condition, and what is.
    pub(super) fn of(request: &Request) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        each_condition(request, |argument| filter.add(argument))?;
        Ok(filter)
    }

    pub(super) fn add(&mut self, argument: &str) -> Result<(), String> {
        let no_condition = || format!("is no condition: {CONDITIONS}");
        let at = argument.find(['=', '<', '>']).ok_or_else(no_condition)?;
        let (key, rest) = argument.split_at(at);
        let (operator, value) = rest.split_at(1);
        let condition = match (key, operator) {
            ("client", "=") => {
                self.clients.push(glob(value));
                return Ok(());
            }
            ("id", "=") => Condition::Id(connection_id(value).ok_or("names no connection: write id=c5")?),
            ("address", "=") => Condition::In(
                network(value).ok_or("names no network: write address=192.0.2.7 or address=10.0.0.0/8")?,
            ),
            ("idle", ">" | "<") => Condition::Time(Time::Idle, bound(operator), time(value)?),
            ("age", ">" | "<") => Condition::Time(Time::Age, bound(operator), time(value)?),
            ("client" | "id" | "address", _) => return Err(format!("needs =: write {key}={value}")),
            ("idle" | "age", _) => return Err(format!("needs > or <: write {key}>{value}")),
            _ => return Err(no_condition()),
        };
        self.connection.push(condition);
        Ok(())
    }

    /// Returns true if there are conditions on connections, so that a client without one meets none.
    pub(super) fn chooses_connections(&self) -> bool {
        !self.connection.is_empty()
    }

    /// Returns true if the client meets the conditions on clients.
    pub(super) fn has_client(&self, client: &str) -> bool {
        self.clients.iter().all(|glob| glob.matches(client))
    }

    /// Returns true if the connection meets all conditions.
    pub(super) fn has(&self, connection: &ConnectionHandle) -> bool {
        self.has_of(connection.identity().name(), Some(connection))
    }

    /// Returns true if a connection of `client` meets all conditions; one that is gone meets none of those on
    /// connections.
    pub(super) fn has_of(&self, client: &str, connection: Option<&ConnectionHandle>) -> bool {
        let is_met = |condition: &Condition| connection.is_some_and(|it| condition.is_met_by(it));
        self.has_client(client) && self.connection.iter().all(is_met)
    }
}

impl Condition {
    fn is_met_by(&self, connection: &ConnectionHandle) -> bool {
        match self {
            Self::Id(id) => connection.id == *id,
            Self::In(network) => network.contains(&connection.peer.ip()),
            Self::Time(time, bound, limit) => {
                let time = match time {
                    Time::Idle => connection.unused(),
                    Time::Age => connection.since.elapsed(),
                };
                bound.admits(time, *limit)
            }
        }
    }
}

/// Adds each argument of a request as a condition.
///
/// # Errors
///
/// The argument that is none, and why.
pub(super) fn each_condition(
    request: &Request,
    mut add: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), CommandError> {
    request.arguments().skip(1).try_for_each(|argument| {
        add(argument).map_err(|why| {
            let words = format!("`{}` {why}", shown(argument, 64));
            CommandError::failed(Code::BadArguments, words)
        })
    })
}

/// Parses a name in which `*` stands for any characters.
pub(super) fn glob(text: &str) -> Glob {
    let mut glob = Glob::default();
    glob.push_wild(text);
    glob
}

/// Parses the name of a connection, such as `c5`.
pub(super) fn connection_id(text: &str) -> Option<ConnectionId> {
    let number = text.strip_prefix('c').unwrap_or(text);
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_number).map(ConnectionId)
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).ok()
}

pub(super) fn bound(operator: &str) -> Bound {
    if operator == ">" { Bound::Above } else { Bound::Below }
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = TimeSpan::try_from(text.to_owned())
        .map_err(|invalid| format!("has no time: {}", invalid.in_full()))?;
    Ok(time.duration())
}
