//! Strangers with odd certificates.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SigningKey};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use sha2::{Digest, Sha256};
use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::peer::Peer;
use testkit::server::{Server, Setup};
use testkit::tools::{Conversation, finish, openssl, s_client};

use crate::{assert_serves, server_with};

/// Shows this chain, whose first certificate belongs to the key.
#[derive(Debug)]
struct Showing(Arc<CertifiedKey>);

impl ResolvesClientCert for Showing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

pub(crate) fn showing(
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Arc<ClientConfig> {
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key.into()).unwrap();
    let mut config = Arc::unwrap_or_clone(Tls::anonymous().config());
    config.client_auth_cert_resolver = Arc::new(Showing(Arc::new(CertifiedKey::new(chain, key))));
    Arc::new(config)
}

/// Returns the server's message to a client that shows this chain.
fn told(server: &Server, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> String {
    let config = showing(chain, PrivatePkcs8KeyDer::from(key.serialize_der()));
    Peer::open(server.address(), config).map_or_else(|_| String::new(), |mut peer| peer.read_to_end())
}

fn pinned(certificate: &CertificateDer<'_>) -> String {
    let sha256 = base16ct::lower::encode_string(&Sha256::digest(certificate));
    format!("[clients.odd]\nthumbprints = [\"{sha256}\"]\ncommands = [\"*\"]")
}

/// A DER value: its tag, and all its bytes.
struct Element<'d> {
    tag: u8,
    whole: &'d [u8],
    content: &'d [u8],
}

/// Splits `der` into its consecutive values.
fn elements(mut der: &[u8]) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    while let [tag, first, ..] = *der {
        let digits = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let length = der[2..2 + digits].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let begin = 2 + digits;
        let end = begin + if digits == 0 { usize::from(first) } else { length };
        elements.push(Element { tag, whole: &der[..end], content: &der[begin..end] });
        der = &der[end..];
    }
    elements
}

/// Encodes a value of up to 64 KB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// Removes the version and the extensions and signs again: the result is of version 1, as from old tools.
fn of_version_1(certificate: &CertificateDer<'_>, key: &KeyPair) -> CertificateDer<'static> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const VERSION: u8 = 0xa0;
    const EXTENSIONS: u8 = 0xa3;
    let parts = elements(elements(certificate)[0].content);
    let fields = elements(parts[0].content);
    let kept = fields.iter().filter(|field| ![VERSION, EXTENSIONS].contains(&field.tag));
    let signed = element(SEQUENCE, &kept.map(|field| field.whole).collect::<Vec<_>>().concat());
    let signature = element(BIT_STRING, &[&[0], &key.sign(&signed).unwrap()[..]].concat());
    element(SEQUENCE, &[&signed, parts[1].whole, &signature].concat()).into()
}

#[test]
fn a_certificate_of_version_1_is_admitted_if_it_is_pinned_and_its_key_is_proven() {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(["old".to_owned()]).unwrap().self_signed(&key).unwrap();
    let old = of_version_1(made.der(), &key);
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().section(&pinned(&old)).start();
    let thief = KeyPair::generate().unwrap();
    assert!(!told(&server, vec![old.clone()], &thief).starts_with("OK"));
    let config = showing(vec![old], PrivatePkcs8KeyDer::from(key.serialize_der()));
    assert_eq!(Peer::open(server.address(), config).unwrap().read().unwrap(), b"OK\r\n\r\n");
    assert_serves(&server, &tester);
}

#[test]
fn only_the_first_certificate_of_a_chain_counts() {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["thief".to_owned()]).unwrap().self_signed(&key).unwrap();
    let victim = Identity::new("victim");
    let server = Setup::new().master("victim", &victim).echo().start();
    let told = told(&server, vec![own.der().clone(), victim.certificate()], &key);
    assert!(told.starts_with("ERR certificate (") && told.ends_with("is unknown\r\n\r\n"), "{told:?}");
    assert_serves(&server, &victim);
}

#[test]
fn a_chain_of_thousands_is_cut_off() {
    let (server, tester) = server_with("");
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["thief".to_owned()]).unwrap().self_signed(&key).unwrap();
    assert_eq!(told(&server, vec![own.der().clone(); 5000], &key), "");
    assert_serves(&server, &tester);
}

/// OpenSSL's own rules are lowered for this: it refuses to show such a certificate.
#[test]
fn a_key_of_1024_bits_is_not_admitted_even_if_it_is_pinned() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let file = |name: &str| setup.folder().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (file("weak.key"), file("weak.pem"));
    let made = finish(&mut openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:1024",
        "-nodes",
        "-subj",
        "/CN=weak",
        "-days",
        "30",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let server = setup.section("[clients.weak]\ncertificates = [\"weak.pem\"]\ncommands = [\"*\"]").start();
    let more = ["-quiet", "-cipher", "DEFAULT@SECLEVEL=0"];
    let said = Conversation::with(&mut s_client(server.address(), server.folder(), "weak", &more)).hear_out();
    assert_eq!(said, "");
    assert_serves(&server, &tester);
}

#[test]
fn hundreds_of_strangers_in_a_row_are_told_and_forgotten() {
    let (server, tester) = server_with("");
    let config = Tls::showing(&Identity::new("stranger")).config();
    for _ in 0..300 {
        let mut connection = Connection::open_with(server.address(), Arc::clone(&config)).unwrap();
        assert!(connection.read_reply().ends_with("is unknown"));
    }
    assert_serves(&server, &tester);
}
