//! Addresses that a plugin's request may go to. Pure: it looks nothing up.
//!
//! A name that an operator granted is answered by a name server that may not be the operator's. Without this
//! check, whoever controls that server could point the name at the machine itself, at the network behind it,
//! or at a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Returns true if `address` is in one of `networks`.
pub(super) fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    let reached = address.to_canonical();
    networks.iter().any(|network| network.contains(&reached))
}

/// Returns true if `address` is a single host of the public network.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IPv4 networks that are not part of the public one, by address and length: IANA's registry of special
/// purposes, and a cloud's own address, which only its machines reach.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),        // this network
    ([10, 0, 0, 0], 8),       // private
    ([100, 64, 0, 0], 10),    // between a provider and its customers
    ([127, 0, 0, 0], 8),      // this machine
    ([168, 63, 129, 16], 32), // Azure's name, health and configuration service
    ([169, 254, 0, 0], 16),   // this link; clouds' metadata services
    ([172, 16, 0, 0], 12),    // private
    ([192, 0, 0, 0], 24),     // protocols
    ([192, 0, 2, 0], 24),     // documentation
    ([192, 88, 99, 0], 24),   // relays of 6to4
    ([192, 168, 0, 0], 16),   // private
    ([198, 18, 0, 0], 15),    // benchmarks
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4), // many at once
    ([240, 0, 0, 0], 4), // reserved; all at once
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    let is_in = |(network, length): &([u8; 4], u32)| {
        let shift = 32 - length;
        bits >> shift == u32::from_be_bytes(*network) >> shift
    };
    !SPECIAL_V4.iter().any(is_in)
}

/// Networks within `2000::/3` that are not part of the public one, by their first 32 bits and length.
/// Addresses outside `2000::/3` never are: this machine, the link, private networks, and unallocated space.
const SPECIAL_V6: &[([u16; 2], u32)] = &[
    ([0x2001, 0x0000], 23), // protocols, Teredo among them, which leads to an address of IPv4
    ([0x2001, 0x0db8], 32), // documentation
    ([0x2002, 0x0000], 16), // 6to4, which leads to an address of IPv4
    ([0x3fff, 0x0000], 20), // documentation
];

/// `64:ff9b::/96`: IPv4 addresses as hosts without IPv4 reach them.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    if parts[..6] == NAT64 {
        let [a, b] = parts[6].to_be_bytes();
        let [c, d] = parts[7].to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    let head = |[high, low]: [u16; 2]| u32::from(high) << 16 | u32::from(low);
    let bits = head([parts[0], parts[1]]);
    let is_in = |(network, length): &([u16; 2], u32)| {
        let shift = 32 - length;
        bits >> shift == head(*network) >> shift
    };
    bits >> 29 == 1 && !SPECIAL_V6.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const PUBLIC_V4: &[&str] = &[
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "168.63.129.15", "168.63.129.17", "172.15.255.255", "172.32.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    ];

    #[rustfmt::skip]
    const PUBLIC_V6: &[&str] = &[
        "2606:4700:4700::1111", "2a00:1450::1", "2001:200::1", "64:ff9b::808:808",
    ];

    #[rustfmt::skip]
    const OTHER_V4: &[&str] = &[
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
        "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255",
    ];

    #[rustfmt::skip]
    const OTHER_V6: &[&str] = &[
        "::", "::1", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a00:1", "64:ff9b::a83f:8110", "64:ff9b:1::808:808", "100::1", "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:1ff::1", "2001:db8::1",
        "2002:7f00:1::", "2002:808:808::", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1",
        "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1",
    ];

    #[test]
    fn only_single_hosts_of_the_public_network_are_public() {
        for (texts, public) in [(PUBLIC_V4, true), (PUBLIC_V6, true), (OTHER_V4, false), (OTHER_V6, false)] {
            for text in texts {
                assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
            }
        }
    }

    #[test]
    fn networks_open_what_they_hold_and_nothing_else() {
        let networks: Vec<IpNet> = ["10.1.0.0/16", "::1/128"].map(|text| text.parse().unwrap()).to_vec();
        for (text, allowed) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:10.2.0.1", false),
            ("::1", true),
            ("127.0.0.1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(is_in(text.parse().unwrap(), &networks), allowed, "{text}");
        }
        let every: Vec<IpNet> = vec!["::/0".parse().unwrap()];
        assert!(!is_in("::ffff:127.0.0.1".parse().unwrap(), &every));
    }
}
