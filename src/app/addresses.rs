//! Listen addresses that this machine lacks, according to the kernel's tables. No socket is opened, so a
//! server that listens there is not disturbed.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Networks whose addresses belong to this machine.
#[derive(Debug, Default)]
struct Local {
    /// `None` if the table can't be read, or if any address may be listened on.
    v4: Option<Vec<Ipv4Net>>,
    v6: Option<Vec<Ipv6Net>>,
}

/// Warns of each address in `listen`, the value of `key`, that is not available now.
pub(super) fn advice(key: &str, listen: &[SocketAddr]) -> Vec<String> {
    let missing = Local::now().missing(listen);
    let words = missing.iter().map(|address| {
        format!("`{key}` has {address}, which is not an address of this machine now: the server cannot listen there")
    });
    words.collect()
}

impl Local {
    fn now() -> Self {
        let read = |family: &str, table: &str| {
            let any = fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
            let takes_any = any.is_ok_and(|any| any.trim() == "1");
            fs::read_to_string(format!("/proc/net/{table}")).ok().filter(|_| !takes_any)
        };
        Self {
            v4: read("ipv4", "fib_trie").map(|table| of_fib_trie(&table)),
            v6: read("ipv6", "if_inet6").map(|table| of_if_inet6(&table)),
        }
    }

    fn missing(&self, listen: &[SocketAddr]) -> Vec<IpAddr> {
        let addresses = listen.iter().map(SocketAddr::ip);
        addresses.filter(|address| !self.may_have(*address)).collect()
    }

    fn may_have(&self, address: IpAddr) -> bool {
        let is_in = |contains: Option<bool>| address.is_unspecified() || contains.unwrap_or(true);
        match address {
            IpAddr::V4(ip) => is_in(self.v4.as_ref().map(|nets| nets.iter().any(|net| net.contains(&ip)))),
            IpAddr::V6(ip) => is_in(self.v6.as_ref().map(|nets| nets.iter().any(|net| net.contains(&ip)))),
        }
    }
}

/// Parses the local networks of the kernel's IPv4 routes: a line with an address, and below it those with a
/// length and a kind.
fn of_fib_trie(table: &str) -> Vec<Ipv4Net> {
    let mut address = Ipv4Addr::UNSPECIFIED;
    let mut local = Vec::new();
    for line in table.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ").and_then(|leaf| leaf.parse().ok()) {
            address = leaf;
        } else if let Some(length) = line.strip_suffix(" host LOCAL").and_then(|rest| rest.strip_prefix('/'))
        {
            local.extend(length.parse().ok().and_then(|length| Ipv4Net::new(address, length).ok()));
        }
    }
    local
}

/// Parses the addresses of the kernel's IPv6 interfaces: each is a line that begins with its 32 digits.
fn of_if_inet6(table: &str) -> Vec<Ipv6Net> {
    let digits = table.lines().filter_map(|line| line.split(' ').next());
    let bits = digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok());
    bits.map(|bits| Ipv6Net::from(Ipv6Addr::from_bits(bits))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.0.2.0/24 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
";
    const IF_INET6: &str = "\
fd000000000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
";

    #[test]
    fn what_the_kernel_says_is_this_machines() {
        let local = Local { v4: Some(of_fib_trie(FIB_TRIE)), v6: Some(of_if_inet6(IF_INET6)) };
        for (address, may_have) in [
            ("0.0.0.0", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("192.0.2.2", true),
            ("192.0.2.1", false),
            ("192.0.2.255", false),
            ("::", true),
            ("::1", true),
            ("fd00::2", true),
            ("fd00::3", false),
        ] {
            assert_eq!(local.may_have(address.parse().unwrap()), may_have, "{address}");
        }
        for address in ["192.0.2.1", "fd00::3"] {
            assert!(Local::default().may_have(address.parse().unwrap()), "nothing is known");
        }
    }

    #[test]
    fn this_machine_has_its_own_addresses() {
        let ask = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let listen = [ask.local_addr().unwrap(), "0.0.0.0:1".parse().unwrap(), "[::]:1".parse().unwrap()];
        assert_eq!(advice("server.listen", &listen), Vec::<String>::new());
    }
}
