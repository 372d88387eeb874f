//! Certificates of all kinds.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, DnValue, IsCa, KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, RevokedCertParams, RsaKeySize, SanType,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl Key {
    fn generate(self) -> KeyPair {
        let made = match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::P521 => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512),
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
            Self::Rsa => KeyPair::generate_for(&PKCS_RSA_SHA256),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        made.expect("a key is made")
    }
}

/// A certificate, self-signed or signed by an [`Authority`], and its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    /// Chain from it to an authority known to others.
    others: Vec<CertificateDer<'static>>,
    certificate_pem: String,
    key: Vec<u8>,
    key_pem: String,
}

impl Identity {
    /// Makes an ordinary certificate: P-256, valid for decades, `name` as its CN.
    pub fn new(name: &str) -> Self {
        Self::of(Key::P256, with_name(name))
    }

    /// Makes an ordinary certificate with another kind of key.
    pub fn with_key(name: &str, key: Key) -> Self {
        Self::of(key, with_name(name))
    }

    /// Makes one marked as a certificate authority, as `openssl req -x509` does by default.
    pub fn marked_as_ca(name: &str) -> Self {
        let mut params = with_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::of(Key::P256, params)
    }

    /// Makes one valid until 2021.
    pub fn expired(name: &str) -> Self {
        let mut params = with_name(name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        Self::of(Key::P256, params)
    }

    /// Makes one valid for this long from now, in whole seconds.
    pub fn valid_for(name: &str, time: std::time::Duration) -> Self {
        let mut params = with_name(name);
        params.not_after = (SystemTime::now() + time).into();
        Self::of(Key::P256, params)
    }

    /// Makes one valid from 2200 on.
    pub fn not_yet_valid(name: &str) -> Self {
        let mut params = with_name(name);
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
        Self::of(Key::P256, params)
    }

    /// Makes one with an empty subject.
    pub fn nameless() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Self::of(Key::P256, params)
    }

    /// Makes one with a subject that does not end in a CN: `CN=first, O=last`.
    pub fn with_organization(common_name: &str, organization: &str) -> Self {
        let mut params = with_name(common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        Self::of(Key::P256, params)
    }

    /// Makes one with a URI that no authority vouches for.
    pub fn with_uri(name: &str, uri: &str) -> Self {
        Self::of(Key::P256, with_uris(name, &[uri]))
    }

    /// Makes one for a server on 127.0.0.1.
    pub fn of_server() -> Self {
        let mut params = with_name("localhost");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().expect("localhost is ASCII")),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        Self::of(Key::P256, params)
    }

    /// Reads `<name>.pem` and `<name>.key` in `folder`, in PEM.
    pub fn read(folder: &Path, name: &str) -> Self {
        let text = |ending: &str| {
            fs::read_to_string(folder.join(format!("{name}.{ending}"))).expect("the file is there")
        };
        let (certificate_pem, key_pem) = (text("pem"), text("key"));
        let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let mut chain = chain.expect("the certificate is PEM");
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
        let key = key.map(|key| key.secret_der().to_vec()).unwrap_or_default();
        Self { certificate: chain.remove(0), others: chain, certificate_pem, key, key_pem }
    }

    fn of(key: Key, params: CertificateParams) -> Self {
        let key = key.generate();
        let certificate = params.self_signed(&key).expect("the certificate is made");
        Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            others: Vec::new(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// Returns the certificate, followed by its chain.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(&self.certificate).chain(&self.others).cloned().collect()
    }

    /// Returns the key, in PKCS #8.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Returns 40 lower-case hexadecimal digits.
    pub fn sha1(&self) -> String {
        base16ct::lower::encode_string(&Sha1::digest(&self.certificate))
    }

    /// Returns 64 lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(&self.certificate))
    }

    /// Writes `<name>.pem`, and `<name>.key`, readable only by its owner, into `folder`; returns their paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&certificate, &self.certificate_pem).expect("the certificate is written");
        fs::write(&key, &self.key_pem).expect("the key is written");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the key is made private");
        (certificate, key)
    }
}

/// An authority, which signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Chain from its certificate to an authority above it.
    others: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Makes a self-signed authority, valid for decades.
    pub fn new(name: &str) -> Self {
        Self::valid_until(name, None)
    }

    /// Makes a self-signed authority that expires at `end`.
    pub fn valid_until(name: &str, end: Option<SystemTime>) -> Self {
        Self::of(of_authority(name, end), Key::P256)
    }

    /// Makes a self-signed authority that is not valid yet.
    pub fn beginning_in_2200(name: &str) -> Self {
        let mut params = of_authority(name, None);
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
        Self::of(params, Key::P256)
    }

    /// Makes an authority with another kind of key.
    pub fn with_key(name: &str, key: Key) -> Self {
        Self::of(of_authority(name, None), key)
    }

    fn of(params: CertificateParams, key: Key) -> Self {
        let issuer = CertifiedIssuer::self_signed(params, key.generate());
        Self { issuer: issuer.expect("the certificate is made"), others: Vec::new() }
    }

    /// Makes an authority whose certificate this one signed.
    pub fn below(&self, name: &str, end: Option<SystemTime>) -> Self {
        let key = Key::P256.generate();
        let issuer = CertifiedIssuer::signed_by(of_authority(name, end), key, &self.issuer);
        let issuer = issuer.expect("the certificate is made");
        let others = std::iter::once(issuer.der()).chain(&self.others).cloned().collect();
        Self { issuer, others }
    }

    /// Returns its certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Signs another certificate for the key of `other`, with this name and this serial number.
    pub fn certify(&self, other: &Self, name: &str, serial: u64) -> CertificateDer<'static> {
        let mut params = of_authority(name, None);
        params.serial_number = Some(serial.into());
        let certificate = params.signed_by(other.issuer.key(), &self.issuer);
        certificate.expect("the certificate is made").der().clone()
    }

    /// Returns a revocation list of 2022, in PEM, of the certificates with these serial numbers.
    pub fn revoking(&self, serials: &[u64]) -> String {
        self.revoking_from(serials, unix_time(1_640_995_200))
    }

    /// Returns such a list of this date, whose successor is due a year later.
    pub fn revoking_from(&self, serials: &[u64], begin: SystemTime) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2022, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: begin.into(),
            next_update: (begin + Duration::from_secs(365 * 24 * 3600)).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("the list is made").pem().expect("it is PEM")
    }

    /// Issues a certificate with this name and this URI.
    pub fn issue(&self, name: &str, uri: &str) -> Identity {
        self.issue_with(name, &[uri], |_| {})
    }

    /// Issues a certificate with this name, these URIs, and the changes of `change`.
    pub fn issue_with(
        &self,
        name: &str,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = Key::P256.generate();
        let mut params = with_uris(name, uris);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("the certificate is made");
        Identity {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            others: self.others.clone(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// Makes a certificate for an RSA key of this many bits, a multiple of 8. Nobody has the private half, since
/// generating one takes minutes; the identity has another key.
pub fn with_long_rsa_key(name: &str, bits: usize) -> Identity {
    struct Long(Vec<u8>);
    impl rcgen::PublicKeyData for Long {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }

        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &PKCS_RSA_SHA256
        }
    }
    let number = |digits: &[u8]| {
        let length = u16::try_from(digits.len()).expect("it fits").to_be_bytes();
        [&[0x02, 0x82], &length[..], digits].concat()
    };
    let mut modulus = vec![0xff; bits / 8 + 1];
    modulus[0] = 0;
    let body = [number(&modulus), vec![0x02, 0x03, 1, 0, 1]].concat();
    let length = u16::try_from(body.len()).expect("it fits").to_be_bytes();
    let long = Long([&[0x30, 0x82], &length[..], &body].concat());
    let signer = Authority::new("signer");
    let certificate = with_name(name).signed_by(&long, &signer.issuer).expect("the certificate is made");
    let key = Key::P256.generate();
    Identity {
        certificate_pem: certificate.pem(),
        certificate: certificate.der().clone(),
        others: Vec::new(),
        key: key.serialize_der(),
        key_pem: key.serialize_pem(),
    }
}

/// Returns the time this many seconds after the beginning of 1970.
pub fn unix_time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn of_authority(name: &str, end: Option<SystemTime>) -> CertificateParams {
    let mut params = with_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if let Some(end) = end {
        params.not_after = end.into();
    }
    params
}

fn with_uris(name: &str, uris: &[&str]) -> CertificateParams {
    let mut params = with_name(name);
    let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("a URI is ASCII"));
    params.subject_alt_names = uris.iter().map(uri).collect();
    params
}

fn with_name(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name.into()));
    params
}
