//! Opens the listening sockets.

use std::io;
use std::net::SocketAddr;

use anyhow::anyhow;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel queues until they are accepted.
const BACKLOG: i32 = 1024;

/// Opens a listening socket. An IPv6 one takes IPv6 alone, whatever the system's default is, so that
/// `0.0.0.0` and `[::]` can listen side by side on one port.
///
/// # Errors
///
/// If the address is taken or not this machine's.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    open(address).map_err(|error| match advice(address, &error) {
        Some(advice) => anyhow!("cannot listen on {address}: {error}; {advice}"),
        None => anyhow!("cannot listen on {address}: {error}"),
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Advice for an operator about `error`.
fn advice(address: SocketAddr, error: &io::Error) -> Option<String> {
    let advice = match Errno::from_io_error(error)? {
        Errno::ADDRINUSE => {
            let port = address.port();
            return Some(format!("`ss -ltnp 'sport = :{port}'` shows which program listens there"));
        }
        Errno::ADDRNOTAVAIL => "this machine has no such address: `ip address` shows those that it has",
        Errno::ACCESS => {
            "ports below 1024 are for privileged programs: choose a higher one, or have systemd hand the socket over"
        }
        Errno::AFNOSUPPORT => "this machine has no IPv6: leave the address out",
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_had_comes_with_what_to_do() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address).unwrap_err().to_string();
        assert!(error.contains(&format!("{address}: Address already in use")), "{error}");
        assert!(error.ends_with(&format!(
            "`ss -ltnp 'sport = :{}'` shows which program listens there",
            address.port()
        )));
        // Reserved for documentation, so nobody has it.
        let error = bind("203.0.113.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(
            error.ends_with("this machine has no such address: `ip address` shows those that it has"),
            "{error}"
        );
    }
}
