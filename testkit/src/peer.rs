//! A TLS client whose socket and records the test controls.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;

use crate::certs::Identity;
use crate::client::{Tls, tcp};

/// Capacity of one TLS record.
const RECORD_BYTES: usize = 16 * 1024;

/// A connection, TLS and socket apart.
pub struct Peer {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Peer {
    /// Connects, and completes the client's part of the handshake.
    pub fn open(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        Self::open_over(tcp(address), config)
    }

    /// Does the same over an existing connection.
    pub fn open_over(socket: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        let mut peer = Self { tls: connection(config), socket };
        while peer.tls.is_handshaking() {
            peer.tls.complete_io(&mut peer.socket)?;
        }
        peer.flush()?;
        Ok(peer)
    }

    /// Connects as `identity` and reads the greeting.
    pub fn admitted(address: SocketAddr, identity: &Identity) -> Self {
        let mut peer = Self::open(address, Tls::showing(identity).config()).expect("the handshake is done");
        assert_eq!(peer.read().expect("a greeting comes"), b"OK\r\n\r\n");
        peer
    }

    /// Sends `bytes` in records as large as TLS allows.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.send_in_records_of(RECORD_BYTES, bytes.as_ref())
    }

    /// Sends `bytes`, `size` of them in each TLS record.
    pub fn send_in_records_of(&mut self, size: usize, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(size) {
            self.tls.writer().write_all(part)?;
            self.flush()?;
        }
        Ok(())
    }

    /// Returns the socket below TLS.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Stops sending when the server takes nothing for this long.
    pub fn set_write_timeout(&self, time: Duration) {
        self.socket.set_write_timeout(Some(time)).expect("a time-out is set");
    }

    /// Returns the server's certificate.
    pub fn server_certificate(&self) -> Option<CertificateDer<'static>> {
        self.tls.peer_certificates()?.first().map(|certificate| certificate.clone().into_owned())
    }

    /// Returns the next bytes from the server; none once it has ended the connection.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut block = [0; RECORD_BYTES];
        loop {
            match self.tls.reader().read(&mut block) {
                Ok(count) => return Ok(block[..count].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.tls.read_tls(&mut self.socket)?;
            let broken = |error| io::Error::new(ErrorKind::InvalidData, error);
            self.tls.process_new_packets().map_err(broken)?;
        }
    }

    /// Reads until the connection ends, in any way.
    pub fn read_to_end(&mut self) -> String {
        let mut said = Vec::new();
        loop {
            match self.read() {
                Ok(bytes) if !bytes.is_empty() => said.extend(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!(
                        "the server does not end the connection after {:?}",
                        String::from_utf8_lossy(&said)
                    )
                }
                _ => return String::from_utf8_lossy(&said).into_owned(),
            }
        }
    }

    /// Reads the next bytes from the server, waiting at most `pace`.
    pub fn read_within(&mut self, pace: Duration) -> io::Result<Vec<u8>> {
        self.socket.set_read_timeout(Some(pace))?;
        self.read()
    }

    /// Ends the sending side of the TCP connection without a close_notify, as somebody in between could.
    pub fn cut_sending(&self) {
        self.socket.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// Ends the TCP connection at once: the server's next byte is answered by a reset.
    pub fn reset(self) {
        reset(self.socket);
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

/// Returns the bytes of a ClientHello.
pub fn client_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    connection(Tls::anonymous().config()).write_tls(&mut bytes).expect("it is written to memory");
    bytes
}

/// Closes a socket with a reset instead of an end.
pub fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("the socket is open");
}

fn connection(config: Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("localhost is a name");
    ClientConnection::new(config, name).expect("the configuration is whole")
}
