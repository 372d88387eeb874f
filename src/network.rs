//! A peer's address, and the networks that one party may own: an IPv4 address, or an IPv6 network.
//!
//! A host has at least a /64 of its own, often a /56 or a /48, and may connect from any address in it. So an
//! IPv6 address counts in three nested networks. The wider ones also hold several parties, and have higher
//! limits.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use smallvec::{SmallVec, smallvec};

/// The prefixes of the networks in which an IPv6 address counts, the narrowest first: as assigned to a host,
/// a site, and a larger site.
const V6_PREFIXES: [u8; 3] = [64, 56, 48];

/// The address of a peer. For an IPv4 peer it is the IPv4 address, even if a dual-stack socket reports
/// `::ffff:192.0.2.1`: limits, the log and `@clients` know one address for one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(SocketAddr);

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => Self(SocketAddr::new(ip, address.port())),
            // Unchanged: a link-local address has its interface.
            IpAddr::V6(_) => Self(address),
        }
    }
}

impl PeerAddress {
    /// The address without its port.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One of the networks in which an address counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The narrowest network in which `peer` counts.
    #[must_use]
    pub fn of(peer: PeerAddress) -> Self {
        match peer.0.ip() {
            IpAddr::V6(address) => Self::of_v6(address, V6_PREFIXES[0]),
            address @ IpAddr::V4(_) => Self { address, prefix: 32 },
        }
    }

    /// All networks in which `peer` counts, the narrowest first.
    pub fn all_of(peer: PeerAddress) -> SmallVec<[Self; 3]> {
        match peer.0.ip() {
            IpAddr::V6(address) => V6_PREFIXES.iter().map(|prefix| Self::of_v6(address, *prefix)).collect(),
            IpAddr::V4(_) => smallvec![Self::of(peer)],
        }
    }

    /// The network's first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    fn of_v6(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX << (128 - u32::from(prefix));
        Self { address: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), prefix }
    }

    /// Number of steps by which it is wider than the narrowest of its kind.
    fn step(self) -> u32 {
        let wider = |prefix: &u8| *prefix == self.prefix;
        let step = V6_PREFIXES.iter().position(wider).unwrap_or_default();
        u32::try_from(step).unwrap_or_default()
    }

    /// The part of `whole` for this network if the narrowest has `part`: doubles with each step, but always
    /// leaves to others half of what the step before left.
    pub fn part(self, part: usize, whole: usize) -> usize {
        let doubled = part.saturating_mul(1 << self.step());
        let left = whole.saturating_sub(part) >> self.step();
        doubled.min(whole - left.min(whole)).max(part)
    }

    /// A rate that doubles with each step.
    pub fn rate(self, rate: u32) -> u32 {
        rate.saturating_mul(1 << self.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> PeerAddress {
        SocketAddr::new(address.parse().unwrap(), 9).into()
    }

    fn networks(address: &str) -> SmallVec<[Network; 3]> {
        Network::all_of(peer(address))
    }

    #[test]
    fn a_peer_that_came_by_ipv4_has_an_ipv4_address() {
        for (came, shown) in [
            ("192.0.2.1:9", "192.0.2.1:9"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1:9"),
            ("[::192.0.2.1]:9", "[::c000:201]:9"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
            ("[fe80::1%2]:9", "[fe80::1%2]:9"),
        ] {
            assert_eq!(PeerAddress::from(came.parse::<SocketAddr>().unwrap()).to_string(), shown);
        }
    }

    /// Number of networks that two addresses share.
    fn common(a: &str, b: &str) -> usize {
        networks(a).iter().filter(|network| networks(b).contains(network)).count()
    }

    #[test]
    fn an_address_counts_in_the_networks_that_it_lies_in() {
        for (a, b, count) in [
            ("192.0.2.1", "192.0.2.1", 1),
            ("192.0.2.1", "::ffff:192.0.2.1", 1),
            ("192.0.2.1", "192.0.2.2", 0),
            ("192.0.2.1", "::192.0.2.1", 0),
            ("2001:db8:1:2::4", "2001:db8:1:2:ffff:ffff:ffff:ffff", 3),
            ("2001:db8:1:200::1", "2001:db8:1:2ff::1", 2),
            ("2001:db8:1:200::1", "2001:db8:1:300::1", 1),
            ("2001:db8:1::1", "2001:db8:1:ffff::1", 1),
            ("2001:db8:1::1", "2001:db8:2::1", 0),
            // Networks that look alike but differ in prefix are distinct.
            ("2001:db8:1::1", "2001:db8:1:0::1", 3),
            ("::1", "::2", 3),
        ] {
            assert_eq!(common(a, b), count, "{a} and {b}");
        }
        for address in ["2001:db8:1:2:3::4", "::ffff:192.0.2.1"] {
            assert_eq!(Network::of(peer(address)), networks(address)[0]);
        }
        assert_eq!(networks("2001:db8:1:2:3::4")[0].address().to_string(), "2001:db8:1:2::");
        assert_eq!(networks("2001:db8:1:2::1").len(), 3);
        assert_eq!(networks("::ffff:192.0.2.1").len(), 1);
    }

    #[test]
    fn wider_networks_may_have_more_and_never_all() {
        for (part, whole, parts) in [
            (512, 1_024, [512, 768, 896]),
            (10_240, 16_384, [10_240, 13_312, 14_848]),
            (10, 16_384, [10, 20, 40]),
            (1, 2, [1, 2, 2]),
            (3, 3, [3, 3, 3]),
            (1, 1, [1, 1, 1]),
        ] {
            let all = networks("2001:db8::1").into_iter().map(|network| network.part(part, whole));
            assert_eq!(all.collect::<Vec<_>>(), parts, "{part} of {whole}");
        }
        assert_eq!(networks("192.0.2.1")[0].part(512, 1_024), 512);
        let rates = networks("2001:db8::1").into_iter().map(|network| network.rate(200));
        assert_eq!(rates.collect::<Vec<_>>(), [200, 400, 800]);
    }
}
