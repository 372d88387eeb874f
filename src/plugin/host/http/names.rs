//! Resolution of granted names to addresses.
//!
//! A name is looked up exactly as it is written: the resolver's list of domains to append (`search` in
//! `resolv.conf`) would make a second name of it, which somebody else may control. So the resolver is asked
//! for the name with a dot at its end. The machine's hosts file has no such names, so it is read first, as
//! most systems do.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;

use crate::files::Opened;

/// Maximum addresses of one name that are considered.
const MAX_ADDRESSES: usize = 16;

/// The hosts file.
const HOSTS: &str = "/etc/hosts";

/// Maximum bytes read of the hosts file.
const MAX_HOSTS_BYTES: u64 = 1 << 20;

/// Looks up `name`, which is in lower case and has no dot at its end. Blocks.
pub(super) fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    let written = hosts().map(|hosts| in_hosts(&hosts, name)).unwrap_or_default();
    if !written.is_empty() {
        return Ok(written);
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let found = (absolute(name).as_str(), 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
}

/// Makes `name` absolute for the resolver.
fn absolute(name: &str) -> String {
    format!("{name}.")
}

fn hosts() -> io::Result<String> {
    let mut bytes = Vec::new();
    let opened = Opened::file(Path::new(HOSTS)).map_err(io::Error::other)?;
    opened.descriptor().take(MAX_HOSTS_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses of `name` in the text of a hosts file: each line has an address and its names, up to a `#`.
fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)).then_some(address)
    };
    hosts.lines().filter_map(of_line).take(MAX_ADDRESSES).collect()
}

/// Returns true if `address` is one of this machine's: a socket connected to it has it as its source address,
/// too. Nothing is sent. Listing the interfaces would need a socket that a unit with few rights does not
/// have.
pub(super) fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let leaves_from = || {
        let socket = UdpSocket::bind((from, 0))?;
        // Port 9 belongs to no service; connecting a UDP socket sends nothing.
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    };
    leaves_from().is_ok_and(|from| from.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_hosts_gives_the_addresses_of_a_name() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 db\n10.0.0.1\tDB.internal db # the second\n10.0.0.2 db.\n\
                     nonsense db\n::1 localhost db2\nfe80::1%eth0 db\n";
        let found = |name| in_hosts(hosts, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("db"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(found("db.internal"), ["10.0.0.1"]);
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("second"), Vec::<String>::new());
        assert_eq!(found("internal"), Vec::<String>::new());
        assert_eq!(in_hosts(&"10.0.0.1 many\n".repeat(100), "many").len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_name_is_asked_for_as_the_whole_of_one() {
        assert_eq!(absolute("api.example"), "api.example.");
        assert!(look_up("nowhere.invalid").is_err());
        let localhost = look_up("localhost").unwrap();
        assert!(!localhost.is_empty() && localhost.iter().all(IpAddr::is_loopback), "{localhost:?}");
        let below = look_up("anything.localhost").unwrap();
        assert!(below.iter().all(IpAddr::is_loopback), "{below:?}");
    }

    #[test]
    fn the_machines_own_addresses_are_known() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        assert!(is_own(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()));
        for address in ["192.0.2.254", "8.8.8.8", "2001:db8::1", "0.0.0.0"] {
            assert!(!is_own(address.parse().unwrap()), "{address}");
        }
    }
}
