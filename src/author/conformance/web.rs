//! The HTTP server to which the conformance plugin sends requests: on the loopback network, within this
//! process.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Placeholder in a case for the server's address.
const ADDRESS: &str = "{web}";

/// Placeholder for an address that is granted and at which nothing listens.
const CLOSED: &str = "{closed}";

/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// One MiB more than a response may have.
const LARGE_BYTES: usize = 9 << 20;

/// A server that answers until it is dropped.
pub(super) struct Web {
    address: SocketAddr,
    closed: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Web {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // The listener is closed at once, so nothing accepts at this port.
        let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // A client that disconnected wants no answer.
                    let _ = answer(stream).await;
                });
            }
        });
        Ok(Self { address, closed, serving })
    }

    /// Returns the URLs that a plugin has to be granted.
    pub(super) fn urls(&self) -> [String; 2] {
        [self.address, self.closed].map(|address| format!("http://{address}"))
    }

    /// Replaces the placeholders in a case's text by addresses.
    pub(super) fn addressed(&self, text: &str) -> String {
        let port = self.address.port().to_string();
        let text = text.replace(ADDRESS, &self.address.to_string()).replace("{port}", &port);
        text.replace(CLOSED, &self.closed.to_string())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let (head, body) = request(&mut stream).await?;
    let line = head.lines().next().unwrap_or_default();
    let (method, path) = line.split_once(' ').unwrap_or_default();
    let word = head.lines().find_map(|line| line.strip_prefix("x-word: ")).unwrap_or("-");
    let answer: Vec<u8> = match path.split([' ', '?']).next().unwrap_or_default() {
        "/echo" => whole("200 OK", &[format!("{method} {word} ").as_bytes(), &body].concat()),
        "/missing" => whole("404 Not Found", b"no such thing"),
        "/moved" => whole("302 Found\r\nLocation: /echo", b""),
        "/large" => whole("200 OK", &vec![b'x'; LARGE_BYTES]),
        "/wrong" => b"what is this?\r\n\r\n".to_vec(),
        "/broken" => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ".to_vec(),
        // Until the other end closes.
        _ => {
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(());
        }
    };
    stream.write_all(&answer).await
}

fn whole(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nX-Answer: grüße\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads a request: the head with its names in lower case, and the body of the length in the head.
async fn request(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD_BYTES || stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            break;
        }
    }
    Ok((head, body))
}
