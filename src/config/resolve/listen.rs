//! The listen addresses, and conflicts between them.
//!
//! Compares addresses only; whether a port is free shows when it is bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::address::Listen;
use crate::config::fields::{Field, Findings, List};

/// The default listen address: reachable from this machine only.
pub(super) const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4888);

pub(super) fn resolve(field: &Field<List<Listen>>, findings: &mut Findings) -> Vec<SocketAddr> {
    let Some(given) = field.given() else { return vec![DEFAULT] };
    let list = given.get_ref();
    if list.items.is_empty() && list.whole {
        findings
            .error("`server.listen` is empty")
            .at(given.span(), "no client could connect")
            .help(format!("write [\"{DEFAULT}\"]"))
            .done();
    }
    for (position, later) in list.items.iter().enumerate() {
        let earlier = list.items.iter().take(position).find_map(|earlier| {
            conflict(earlier.get_ref().0, later.get_ref().0).map(|conflict| (earlier.span(), conflict))
        });
        if let Some((span, conflict)) = earlier {
            let (message, label, help) = match conflict {
                Conflict::Same => {
                    ("`server.listen` holds an address twice", "and again here", "leave one out")
                }
                Conflict::Covered => (
                    "`server.listen` holds an address, and the one for every address of its kind, with the same port",
                    "the other one already uses this port",
                    "keep the one for every address, or give each its own port",
                ),
            };
            findings.error(message).at(later.span(), label).at(span, "here").help(help).done();
        }
    }
    list.items.iter().map(|item| item.get_ref().0).collect()
}

pub(super) enum Conflict {
    /// The addresses are equal.
    Same,
    /// One address is the wildcard of its family, and so includes the other.
    Covered,
}

/// The reason why two addresses can't both be listened on. Port 0 is a different free port each time. `[::]`
/// is every IPv6 address: the socket is set to accept no IPv4.
pub(super) fn conflict(a: SocketAddr, b: SocketAddr) -> Option<Conflict> {
    let covers =
        |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && all.is_ipv6() == one.is_ipv6();
    if a.port() == 0 || a.port() != b.port() {
        None
    } else if a == b {
        Some(Conflict::Same)
    } else {
        (covers(a, b) || covers(b, a)).then_some(Conflict::Covered)
    }
}
