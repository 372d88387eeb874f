//! Connecting to servers made for the test.

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::client::connection::MAX_UNASKED;
use crate::client::{Frame, Request};
use crate::identity::{Root, Thumbprint};

fn certificate() -> (CertificateDer<'static>, rcgen::KeyPair) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.into(), made.signing_key)
}

fn acceptor(certificate: CertificateDer<'static>, key: &rcgen::KeyPair) -> TlsAcceptor {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider().key_provider.load_private_key(key.into()).unwrap();
    let resolver: Arc<dyn ResolvesServerCert> =
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    TlsAcceptor::from(Arc::new(config))
}

/// Serves one connection: sends the first of `answers` at once and each other one in reply to input; returns
/// the input.
async fn serve(
    acceptor: TlsAcceptor,
    answers: Vec<&'static [u8]>,
) -> (Address, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        let Ok(mut stream) = acceptor.accept(stream).await else { return received };
        for (position, answer) in answers.into_iter().enumerate() {
            if position > 0 && stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return received;
            }
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
        }
        let _ = stream.shutdown().await;
        received
    });
    (address, task)
}

fn connector(address: Address, trust: &Trust) -> Connector {
    Connector::new(address, trust, None).unwrap()
}

fn pinned(der: &[u8]) -> Trust {
    Trust::Pinned(vec![Thumbprint::sha256_of(der)])
}

#[tokio::test]
async fn a_request_gets_its_reply_from_a_pinned_server() {
    let (certificate, key) = certificate();
    let trust = pinned(&certificate);
    let reply = b"PART\r\nSequence: 1\r\nSize: 2\r\n\r\nhiOK\r\nSequence: 1\r\nSize: 0\r\n\r\n";
    let (address, server) = serve(acceptor(certificate, &key), vec![b"OK\r\n\r\n", reply]).await;
    let mut connection = connector(address, &trust).connect().await.unwrap();
    assert!(connection.probe().await);
    let request = Request::from_arguments(&["echo"]).unwrap().sequence(1).encode().unwrap();
    connection.send(&request).await.unwrap();
    assert!(matches!(connection.next_frame().await.unwrap(), Frame::Part { body, .. } if body == "hi"));
    assert!(matches!(connection.next_frame().await.unwrap(), Frame::Ok { .. }));
    assert!(matches!(connection.next_frame().await, Err(CallError::Closed)));
    assert!(!connection.probe().await);
    assert_eq!(server.await.unwrap(), request);
}

#[tokio::test]
async fn what_comes_unasked_is_dropped_unless_it_ends_the_connection() {
    let (certificate, key) = certificate();
    let trust = pinned(&certificate);
    let stale = b"OK\r\n\r\nOK\r\nSequence: old\r\nSize: 1\r\n\r\nx";
    for (unasked, is_open) in
        [(&b"ERR x\r\nSequence: old\r\n\r\n"[..], true), (b"ERR stopping\r\n\r\n", false)]
    {
        let (address, _server) = serve(acceptor(certificate.clone(), &key), vec![stale, unasked, b""]).await;
        let mut connection = connector(address, &trust).connect().await.unwrap();
        assert!(connection.probe().await);
        connection.send(b"any").await.unwrap();
        connection.fill().await.unwrap();
        assert_eq!(connection.probe().await, is_open);
    }
}

#[tokio::test]
async fn replies_to_other_requests_are_dropped_and_do_not_go_on_for_ever() {
    let (certificate, key) = certificate();
    let trust = pinned(&certificate);
    let few = "OK\r\nSequence: old\r\nSize: 1\r\n\r\nx".repeat(MAX_UNASKED);
    let own = "PART\r\nSequence: 1\r\nSize: 0\r\n\r\n";
    let answer = format!("{few}{own}{few}OK\r\nSequence: 1\r\nSize: 0\r\n\r\n{few}{few}").leak().as_bytes();
    let (address, _server) = serve(acceptor(certificate, &key), vec![b"OK\r\n\r\n", answer]).await;
    let mut connection = connector(address, &trust).connect().await.unwrap();
    connection.send(b"any").await.unwrap();
    assert!(matches!(connection.next_frame_of("1").await.unwrap(), Frame::Part { .. }));
    assert!(matches!(connection.next_frame_of("1").await.unwrap(), Frame::Ok { .. }));
    assert!(matches!(connection.next_frame_of("1").await, Err(CallError::Unasked)));
    assert!(!connection.probe().await);
}

#[tokio::test]
async fn a_greeting_is_no_longer_than_a_head() {
    let (certificate, key) = certificate();
    let trust = pinned(&certificate);
    let long: &[u8] = vec![b'x'; 20 << 10].leak();
    let (address, _server) = serve(acceptor(certificate, &key), vec![long]).await;
    let error = connector(address, &trust).connect().await.unwrap_err().to_string();
    assert!(error.ends_with("the server sent a head of more than 16384 bytes"), "{error}");
}

#[tokio::test]
async fn an_unknown_server_is_refused_with_its_thumbprint() {
    let (certificate, key) = certificate();
    let thumbprint = Thumbprint::sha256_of(&certificate);
    for trust in [Trust::Pinned(vec![]), pinned(b"another")] {
        let (address, server) = serve(acceptor(certificate.clone(), &key), vec![b"OK\r\n\r\n"]).await;
        let error = connector(address, &trust).connect().await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::NotTrusted { source, .. } if source.presented == thumbprint),
            "{error}"
        );
        assert!(server.await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_copy_of_the_certificate_without_its_key_is_refused() {
    let (certificate, _) = certificate();
    let (_, other_key) = self::certificate();
    let trust = pinned(&certificate);
    let (address, _server) = serve(acceptor(certificate, &other_key), vec![b"OK\r\n\r\n"]).await;
    let error = connector(address, &trust).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn an_authority_vouches_for_its_names_only() {
    let (certificate, key) = certificate();
    let trust = Trust::Authorities(vec![Root::new(certificate.clone()).unwrap()]);
    for (name, is_admitted) in [("localhost", true), ("127.0.0.1", false)] {
        let (address, _server) = serve(acceptor(certificate.clone(), &key), vec![b"OK\r\n\r\n"]).await;
        let address = format!("{name}:{}", address.port()).parse().unwrap();
        let result = connector(address, &trust).connect().await;
        assert_eq!(result.is_ok(), is_admitted, "{result:?}");
    }
}

#[tokio::test]
async fn what_the_server_says_instead_of_its_greeting_is_told() {
    let (certificate, key) = certificate();
    let trust = pinned(&certificate);
    for (greeting, words) in [
        (
            &b"ERR No certificate was provided\r\n\r\n"[..],
            "does not admit this client: No certificate was provided",
        ),
        (b"220 mail.example ESMTP\r\n\r\n", "did not greet as a Lictor server does: it said something else"),
        (b"OK\r\n", "closed the connection in the middle of a reply"),
        (b"", "did not greet as a Lictor server does: the server closed the connection"),
    ] {
        let (address, _server) = serve(acceptor(certificate.clone(), &key), vec![greeting]).await;
        let error = connector(address, &trust).connect().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_server_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let connector = connector(address, &Trust::Pinned(vec![]));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = connector.connect().await.unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
    server.await.unwrap();
    let error = connector.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Connect { .. }), "{error}");
}
