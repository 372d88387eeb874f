//! A small web server, which answers as a test says, byte for byte. It listens on the loopback network, on a
//! port that the system chooses, and runs until the tests end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::PATIENCE;
use crate::certs::Identity;

/// A running web server.
pub struct Web {
    /// Its address.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    closed: Receiver<()>,
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The first line.
    pub line: String,
    /// The header's fields, one per line, names in lower case.
    pub fields: String,
    /// The body as text, empty if there is none.
    pub body: String,
    /// The body.
    pub bytes: Vec<u8>,
}

/// One connection, with TLS or without.
pub struct Connection {
    stream: Box<dyn ReadWrite>,
    closed: Sender<()>,
}

trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}

impl Web {
    /// Answers each request with `answer`, and closes.
    pub fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::new(move |_, connection| connection.send(&answer))
    }

    /// Answers each request by calling `answer`.
    pub fn new(answer: impl Fn(&Request, &mut Connection) + Send + Sync + 'static) -> Self {
        Self::listening("127.0.0.1:0", None, answer)
    }

    /// Does the same over TLS, as `identity`.
    pub fn secure(identity: &Identity, answer: impl Into<String>) -> Self {
        Self::secure_with_tickets(identity, 0, answer)
    }

    /// Does the same with this many TLS tickets before the answer.
    pub fn secure_with_tickets(identity: &Identity, tickets: usize, answer: impl Into<String>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("there are versions").with_no_client_auth();
        let config = config.with_single_cert(vec![identity.certificate()], identity.key());
        let (mut config, answer) = (config.expect("the identity is good"), answer.into());
        config.send_tls13_tickets = tickets;
        Self::listening("127.0.0.1:0", Some(Arc::new(config)), move |_, connection| connection.send(&answer))
    }

    fn listening(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request, &mut Connection) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (closed, told) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let web = Self { address, seen: Arc::clone(&seen), closed: told };
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, seen) = (tls.clone(), Arc::clone(&seen));
                let (closed, answer) = (closed.clone(), Arc::clone(&answer));
                thread::spawn(move || {
                    let Ok(stream) = open(stream, tls) else { return };
                    let mut connection = Connection { stream, closed };
                    let Some(request) = connection.request() else { return };
                    seen.lock().expect("no test panics with it").push(request.clone());
                    answer(&request, &mut connection);
                });
            }
        });
        web
    }

    /// Returns the URL of `path` at this server's address.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the received requests in order.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    /// Waits until a connection was closed by its other end.
    pub fn wait_for_close(&self) {
        self.closed.recv_timeout(PATIENCE).expect("a connection is closed");
    }
}

fn open(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Box<dyn ReadWrite>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = stream;
    session.complete_io(&mut stream)?;
    Ok(Box::new(StreamOwned::new(session, stream)))
}

impl Connection {
    /// Sends `bytes`; returns true if the other end still takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends `text` to a client that may have closed.
    pub fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes());
    }

    /// Sends `text` repeatedly, until the other end closes.
    pub fn send_without_end(&mut self, text: &str) {
        while self.try_send(text.as_bytes()) {}
        let _ = self.closed.send(());
    }

    /// Waits silently until the other end closes.
    pub fn wait_for_close(&mut self) {
        while matches!(self.stream.read(&mut [0; 4096]), Ok(1..)) {}
        let _ = self.closed.send(());
    }

    /// Reads a request, with the body that `content-length` or chunks give; none if it broke off.
    fn request(&mut self) -> Option<Request> {
        let head = self.read_until(b"\r\n\r\n")?;
        let (line, fields) = head.split_once("\r\n")?;
        let fields: String = fields
            .lines()
            .filter_map(|line| line.split_once(':'))
            .fold(String::new(), |fields, (name, value)| {
                format!("{fields}{}:{value}\n", name.to_ascii_lowercase())
            });
        let field = |name: &str| fields.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = match (field("content-length:"), field("transfer-encoding:")) {
            (Some(length), _) => self.read(length.parse().ok()?)?,
            (None, Some(_)) => self.chunks()?,
            (None, None) => Vec::new(),
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        Some(Request { line: line.to_owned(), fields: fields.clone(), body: text, bytes: body })
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.read_until(b"\r\n")?.trim(), 16).ok()?;
            let chunk = self.read(size)?;
            self.read_until(b"\r\n")?;
            if size == 0 {
                return Some(body);
            }
            body.extend(chunk);
        }
    }

    fn read_until(&mut self, end: &[u8]) -> Option<String> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            // What is no text is no HTTP, and would have no end.
            bytes.extend(self.read(1).filter(|byte| byte.is_ascii())?);
        }
        String::from_utf8(bytes).ok()
    }

    fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let whole = self.stream.read_exact(&mut bytes);
        if whole.is_err() {
            let _ = self.closed.send(());
        }
        whole.ok().map(|()| bytes)
    }
}
