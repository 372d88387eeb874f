//! The listeners of `[admin]`: metrics and health over HTTP, byte for byte, by sockets, loopback and TLS.

mod clients;
mod health;
mod http;
mod sockets;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use testkit::PATIENCE;
use testkit::certs::Identity;
use testkit::client::tcp;
use testkit::server::{Server, Setup};

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// The head's lines after the first, names in lower case.
    pub fields: String,
    pub body: String,
}

impl Response {
    /// Parses the beginning of `bytes`; returns the rest, too. `None` while it is not whole. A response to
    /// HEAD has no body.
    pub fn parse<'b>(bytes: &'b [u8], method: &str) -> Option<(Self, &'b [u8])> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, rest) = (std::str::from_utf8(&bytes[..end]).unwrap(), &bytes[end + 4..]);
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line.strip_prefix("HTTP/1.").unwrap_or_else(|| panic!("no HTTP: {head:?}"));
        let lower = |line: &str| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}\n", name.to_ascii_lowercase()),
            None => panic!("no field: {line:?}"),
        };
        let mut response = Self {
            status: status[2..5].parse().unwrap(),
            fields: fields.lines().map(lower).collect(),
            body: String::new(),
        };
        let length = response.field("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if method == "HEAD" { 0 } else { length };
        let (body, rest) = rest.split_at_checked(length)?;
        response.body = String::from_utf8(body.to_vec()).unwrap();
        Some((response, rest))
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let of_name = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim).map(str::len);
        let line = self.fields.lines().find(|line| of_name(line).is_some())?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

/// Reads all responses until the server closes.
pub fn responses(stream: &mut impl Read, method: &str) -> Vec<Response> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server ends the connection in good order");
    let (mut rest, mut found) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (response, behind) =
            Response::parse(rest, method).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(rest)));
        found.push(response);
        rest = behind;
    }
    found
}

/// Sends `request` and reads one response; the connection stays open.
pub fn ask(stream: &mut (impl Read + Write), request: &str) -> Response {
    stream.write_all(request.as_bytes()).unwrap();
    let method = request.split(' ').next().unwrap();
    let mut bytes = Vec::new();
    loop {
        if let Some((response, rest)) = Response::parse(&bytes, method) {
            assert!(rest.is_empty(), "more than one response: {:?}", String::from_utf8_lossy(&bytes));
            return response;
        }
        let mut block = [0; 4096];
        let read = stream.read(&mut block).unwrap();
        assert!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&block[..read]);
    }
}

/// Opens a Unix socket.
pub fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks for `page` on a connection of its own.
pub fn page(address: SocketAddr, page: &str) -> Response {
    ask(&mut tcp(address), &format!("GET {page} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// Returns the addresses that show this, as the log tells.
pub fn addresses(server: &Server, shows: &str) -> Vec<SocketAddr> {
    addresses_in(&server.printed(), shows)
}

pub fn addresses_in(log: &str, shows: &str) -> Vec<SocketAddr> {
    let entries = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let fits = entries.filter(|entry| entry["message"] == "listening for [admin]" && entry["shows"] == shows);
    fits.filter_map(|entry| entry["address"].as_str()?.parse().ok()).collect()
}

/// Starts a server with a loopback listener, a health listener and the socket `run/admin.sock`; returns the
/// addresses of the first two.
pub fn start() -> (Server, Identity, SocketAddr, SocketAddr) {
    start_with(Setup::new().echo())
}

pub fn start_with(setup: Setup) -> (Server, Identity, SocketAddr, SocketAddr) {
    let operator = Identity::new("operator");
    let listen = "[admin]\nlisten = [\"unix:run/admin.sock\", \"127.0.0.1:0\"]\nhealth = [\"127.0.0.1:0\"]";
    let server = setup.master("operator", &operator).section(listen).start();
    let (loopback, health) = (addresses(&server, "metrics and health")[0], addresses(&server, "health")[0]);
    (server, operator, loopback, health)
}

/// Sends `request` as it is, says that no more comes, and reads all responses.
pub fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Vec<Response> {
    let mut stream: TcpStream = tcp(address);
    stream.write_all(request.as_ref()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    responses(&mut stream, "GET")
}
