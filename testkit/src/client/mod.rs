//! A client that sends and reads bytes, and knows nothing of the protocol except the end of a reply.

mod frame;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned,
    SupportedProtocolVersion, version,
};

use crate::PATIENCE;
use crate::certs::Identity;

pub use frame::Frame;

const END: &[u8] = b"\r\n\r\n";

/// Opens a TCP connection without TLS. Reads and writes give up after [`PATIENCE`].
pub fn tcp(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out is set");
    socket.set_write_timeout(Some(PATIENCE)).expect("a time-out is set");
    socket.set_nodelay(true).expect("no delay is set");
    socket
}

/// The handshake settings of a client.
pub struct Tls {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    shown: Option<CertifiedKey>,
    resumption: Resumption,
}

impl Tls {
    /// A client that shows no certificate.
    pub fn anonymous() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            versions: vec![&version::TLS13],
            shown: None,
            resumption: Resumption::disabled(),
        }
    }

    /// A client that shows the certificate of `identity`.
    pub fn showing(identity: &Identity) -> Self {
        Self::anonymous().with(identity, identity)
    }

    /// A client that shows somebody's certificate without its key.
    pub fn stealing(certificate_of: &Identity, key_of: &Identity) -> Self {
        Self::anonymous().with(certificate_of, key_of)
    }

    fn with(mut self, certificate_of: &Identity, key_of: &Identity) -> Self {
        let key = self.provider.key_provider.load_private_key(key_of.key()).expect("the key is read");
        // Built by hand, because rustls checks that certificate and key belong together.
        self.shown = Some(CertifiedKey::new(certificate_of.chain(), key));
        self
    }

    /// Restricts the client to TLS 1.2.
    pub fn only_version_1_2(mut self) -> Self {
        self.versions = vec![&version::TLS12];
        self
    }

    /// Keeps sessions, and offers them at the next connection with the same configuration.
    pub fn resuming(mut self) -> Self {
        self.resumption = Resumption::in_memory_sessions(16);
        self
    }

    /// Makes rustls's configuration.
    pub fn config(self) -> Arc<ClientConfig> {
        let verifier = Arc::new(AnyServer(Arc::clone(&self.provider)));
        let mut config = ClientConfig::builder_with_provider(self.provider)
            .with_protocol_versions(&self.versions)
            .expect("the versions are known")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(Shown(self.shown.map(Arc::new))));
        config.resumption = self.resumption;
        Arc::new(config)
    }
}

/// A TLS connection.
pub struct Connection {
    tls: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
}

/// The way in which the server ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With TLS's close_notify: nothing was cut off.
    Clean,
    /// Without a close_notify: bytes may have been cut off.
    Cut,
    /// With a TLS alert.
    Alert,
}

impl Connection {
    /// Connects as `identity` and reads the greeting.
    pub fn admitted(address: SocketAddr, identity: &Identity) -> Self {
        let mut connection = Self::open(address, Tls::showing(identity)).expect("the handshake is done");
        assert_eq!(connection.read_reply(), "OK", "the greeting");
        connection
    }

    /// Connects and shakes hands. In TLS 1.3 the client is done before the server has checked its
    /// certificate.
    pub fn open(address: SocketAddr, tls: Tls) -> io::Result<Self> {
        Self::open_with(address, tls.config())
    }

    /// Does the same with a configuration, which may hold sessions.
    pub fn open_with(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        let connection = ClientConnection::new(config, name).expect("the configuration is whole");
        let mut tls = StreamOwned::new(connection, tcp(address));
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        tls.flush()?;
        Ok(Self { tls, unread: Vec::new() })
    }

    /// Sends `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes it");
    }

    /// Sends `bytes` to a server that may have closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tls.write_all(bytes.as_ref())?;
        self.tls.flush()
    }

    /// Sends bytes as they are, bypassing TLS.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.tls.sock.write_all(bytes).expect("the server takes it");
    }

    /// Announces that nothing more will be sent, and goes on reading.
    pub fn end_sending(&mut self) {
        self.tls.conn.send_close_notify();
        while self.tls.conn.wants_write() {
            self.tls.conn.write_tls(&mut self.tls.sock).expect("close_notify is sent");
        }
    }

    /// Returns the text up to the next empty line.
    pub fn read_reply(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.unread.windows(END.len()).position(|window| window == END) {
                break end;
            }
            self.read_some();
        };
        let reply: Vec<u8> = self.unread.drain(..end + END.len()).take(end).collect();
        String::from_utf8(reply).expect("a reply is UTF-8")
    }

    /// Does the same with a server that may be gone.
    pub fn try_read_reply(&mut self) -> Option<String> {
        while !self.unread.windows(END.len()).any(|window| window == END) {
            if !matches!(self.read_more(), Ok(1..)) {
                return None;
            }
        }
        Some(self.read_reply())
    }

    /// Returns the next `count` bytes.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            self.read_some();
        }
        self.unread.drain(..count).collect()
    }

    /// Returns the next framed reply.
    pub fn read_frame(&mut self) -> Frame {
        let head = self.read_reply();
        let mut frame = Frame::parse(&head);
        let size = frame.field("Size").and_then(|size| size.parse().ok());
        frame.body = self.read_bytes(size.unwrap_or_else(|| panic!("a frame without its size: {head:?}")));
        frame
    }

    /// Reads the first reply; returns true if it is the greeting.
    pub fn is_greeted(&mut self) -> bool {
        while self.unread.len() < 6 && matches!(self.read_more(), Ok(1..)) {}
        let greeted = self.unread.starts_with(b"OK\r\n\r\n");
        self.unread.drain(..self.unread.len().min(6));
        greeted
    }

    /// Sends one request that is only its line, and returns the plain reply.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n\r\n"));
        self.read_reply()
    }

    /// Sends framed requests in one piece, each a command and its headers, followed, after a `|`, by its
    /// body; returns their replies in that order.
    pub fn ask_all(&mut self, requests: &[(&str, &str)]) -> Vec<Frame> {
        let framed = requests.iter().enumerate().map(|(place, (command, rest))| {
            let (headers, body) = rest.split_once('|').unwrap_or((rest, ""));
            let size = if body.is_empty() { String::new() } else { format!("Size: {}\r\n", body.len()) };
            format!("{command}\r\nSequence: {place}\r\n{headers}{size}\r\n{body}")
        });
        self.send(framed.collect::<String>());
        let mut frames: Vec<Frame> = requests.iter().map(|_| self.read_frame()).collect();
        frames.sort_by_key(|frame| frame.field("Sequence").and_then(|place| place.parse::<usize>().ok()));
        frames
    }

    /// Sends one framed request that is only its line, and returns the next frame.
    pub fn ask_framed(&mut self, line: &str) -> Frame {
        self.send(format!("{line}\r\nSequence: asked\r\n\r\n"));
        let frame = self.read_frame();
        assert_eq!(frame.field("Sequence"), Some("asked"), "{frame:?}");
        frame
    }

    /// Reads until the server ends the connection; returns the bytes, and the kind of ending.
    pub fn read_to_end(&mut self) -> (Vec<u8>, Ending) {
        let ending = loop {
            match self.read_more() {
                Ok(0) => break Ending::Clean,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the server does not end the connection")
                }
                Err(error) if error.kind() == ErrorKind::InvalidData => break Ending::Alert,
                Err(_) => break Ending::Cut,
            }
        };
        (std::mem::take(&mut self.unread), ending)
    }

    /// Asserts that the server ends the connection, cleanly and without another byte.
    pub fn assert_closed(&mut self) {
        let (rest, ending) = self.read_to_end();
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), ending), ("", Ending::Clean));
    }

    /// Returns the kind of handshake, full or resumed.
    pub fn handshake(&self) -> Option<HandshakeKind> {
        self.tls.conn.handshake_kind()
    }

    /// Returns the protocol that was negotiated, if one was.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.tls.conn.alpn_protocol()
    }

    /// Returns the number of session tickets received so far.
    pub fn tickets(&self) -> u32 {
        self.tls.conn.tls13_tickets_received()
    }

    /// Sends `bytes` repeatedly, without reading, until the server has taken nothing for a while. Returns the
    /// number of bytes sent; the server may also have the beginning of another TLS record, which it can't
    /// use.
    pub fn send_until_stuck(&mut self, bytes: &[u8]) -> usize {
        const WHILE: Duration = Duration::from_secs(1);
        const RECORD: usize = 16 * 1024;
        let StreamOwned { conn, sock } = &mut self.tls;
        sock.set_write_timeout(Some(WHILE)).expect("a time-out is set");
        let mut sent = 0;
        loop {
            let rest = &bytes[sent % bytes.len()..];
            let count = conn.writer().write(&rest[..rest.len().min(RECORD)]).expect("TLS takes it");
            while conn.wants_write() {
                if let Err(error) = conn.write_tls(sock) {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "the server broke off: {error}");
                    return sent;
                }
            }
            sent += count;
        }
    }

    fn read_some(&mut self) {
        let read = self.read_more();
        let said = String::from_utf8_lossy(&self.unread);
        assert!(!matches!(read, Ok(0) | Err(_)), "the connection ended ({read:?}) after {said:?}");
    }

    /// Only reads: rustls's own `read` first sends pending bytes, and if that fails, readable bytes are lost.
    fn read_more(&mut self) -> io::Result<usize> {
        let StreamOwned { conn, sock } = &mut self.tls;
        let mut block = [0; 16 * 1024];
        loop {
            match conn.reader().read(&mut block) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => {
                    self.unread.extend_from_slice(&block[..*read.as_ref().unwrap_or(&0)]);
                    return read;
                }
            }
            conn.read_tls(sock)?;
            conn.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Accepts any server's certificate whose key signed the handshake.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
