//! Makes self-signed certificates with their keys.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, ParsedExtension, X509Certificate};

use crate::client::private_file;
use crate::files;
use crate::identity::{self, Thumbprint};

/// Default names of a server's certificate.
pub(crate) const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Default folder of certificates: in this folder, or beside the config file.
pub(crate) const FOLDER: &str = "certs";

/// Default days of validity.
pub(crate) const DEFAULT_DAYS: u32 = 825;

/// Time by which a new certificate is backdated, for clocks that are slow.
pub(super) const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// A name suitable for a certificate, its files and a client in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateName(String);

impl FromStr for CertificateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if begins_well && text.len() <= 64 && text.bytes().all(is_inner) {
            return Ok(Self(text.to_owned()));
        }
        Err("a name has 1 to 64 letters, digits, dots, underscores or hyphens; the first is a letter or digit"
            .to_owned())
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A client, known by its thumbprint.
    Client {
        /// Names in the certificate; the server ignores them.
        names: Vec<String>,
    },
    /// A server under these DNS names and IP addresses.
    Server {
        /// At least one.
        names: Vec<String>,
    },
}

impl Role {
    /// The names in the certificate.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Client { names } | Self::Server { names } => names,
        }
    }
}

/// A new certificate, with its key.
pub(crate) struct Issued {
    pub(crate) certificate_pem: String,
    key_pem: String,
    der: Vec<u8>,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn of(folder: &Path, name: &CertificateName) -> Self {
        Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }
}

/// Makes a certificate with a new ECDSA P-256 key, valid for `days`.
///
/// It is no authority: trust in it extends to this one certificate only.
pub(crate) fn issue(name: &CertificateName, role: &Role, days: u32) -> Result<Issued, rcgen::Error> {
    let (names, usage) = match role {
        Role::Client { names } => (names, ExtendedKeyUsagePurpose::ClientAuth),
        Role::Server { names } => (names, ExtendedKeyUsagePurpose::ServerAuth),
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.to_string());
    params.extended_key_usages = vec![usage];
    sign(params, &key, days)
}

/// Makes a certificate with a new key and the other contents of the self-signed certificate `old`: its
/// subject, names, usages and everything else.
///
/// # Errors
///
/// The part of `old` that cannot be kept.
pub(crate) fn issue_again(old: &X509Certificate<'_>, days: u32) -> Result<Issued, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for part in old.subject().iter_attributes() {
        let kind = part.attr_type().iter().map(Iterator::collect).unwrap_or_default();
        if let Some(value) = dn_value(part) {
            params.distinguished_name.push(DnType::CustomDnType(kind), value);
        }
    }
    for extension in old.extensions() {
        let is_of_key = matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
                | ParsedExtension::AuthorityKeyIdentifier(_)
        );
        let oid: Vec<u64> = extension.oid.iter().map(Iterator::collect).unwrap_or_default();
        if !is_of_key {
            let mut kept = CustomExtension::from_oid_content(&oid, extension.value.to_vec());
            kept.set_criticality(extension.critical);
            params.custom_extensions.push(kept);
        }
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
    let issued = sign(params, &key, days).map_err(|error| error.to_string())?;
    let (_, new) = X509Certificate::from_der(&issued.der).map_err(|error| error.to_string())?;
    if new.subject().as_raw() != old.subject().as_raw() {
        return Err(format!("its subject ({}) can't be kept as it is written", identity::subject(old, 200)));
    }
    Ok(issued)
}

/// Converts a part of a subject for the new certificate.
fn dn_value(part: &AttributeTypeAndValue<'_>) -> Option<DnValue> {
    let (value, text) = (part.attr_value(), part.as_str().ok()?);
    Some(match value.tag() {
        Tag::PrintableString => DnValue::PrintableString(text.try_into().ok()?),
        Tag::Ia5String => DnValue::Ia5String(text.try_into().ok()?),
        _ => DnValue::Utf8String(text.to_owned()),
    })
}

/// Signs a certificate with its own key.
fn sign(mut params: CertificateParams, key: &KeyPair, days: u32) -> Result<Issued, rcgen::Error> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Duration::from_secs(now.as_secs());
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    let certificate = params.self_signed(key)?;
    Ok(Issued {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        der: certificate.der().to_vec(),
    })
}

impl Issued {
    pub(crate) fn sha256(&self) -> Thumbprint {
        Thumbprint::sha256_of(&self.der)
    }

    #[cfg(test)]
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Writes the certificate and the key, both or neither, into a folder, which is created if missing. Never
    /// overwrites anything: a lost key cannot be restored.
    pub(crate) fn write(&self, to: &Files) -> Result<(), (PathBuf, io::Error)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        if let Some(folder) = to.key.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            private_file::create_folder(folder).map_err(at(folder))?;
        }
        private_file::create_new(&to.key, self.key_pem.as_bytes()).map_err(at(&to.key))?;
        write_new(&to.certificate, self.certificate_pem.as_bytes())
            .inspect_err(|_| drop(fs::remove_file(&to.key)))
            .map_err(at(&to.certificate))
    }
}

/// Writes a world-readable file, if none exists.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::make(path, 0o666, bytes)
}

/// Never shows the key.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("sha256", &self.sha256()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;

    fn name(text: &str) -> CertificateName {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_checked() {
        for text in ["a", "Laptop-2.home_x", &"x".repeat(64)] {
            assert!(text.parse::<CertificateName>().is_ok(), "{text}");
        }
        for text in ["", ".a", "-a", "_a", "a/b", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(text.parse::<CertificateName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_clients_certificate_is_for_clients_and_no_authority() {
        let issued = issue(&name("dev"), &Role::Client { names: vec![] }, 10).unwrap();
        let (rest, certificate) = X509Certificate::from_der(issued.der()).unwrap();
        assert!(rest.is_empty());
        assert_eq!(certificate.version(), X509Version::V3);
        assert_eq!(certificate.subject().to_string(), "CN=dev");
        assert_eq!(certificate.issuer().to_string(), "CN=dev");
        assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth && !extended.any);
        assert!(certificate.subject_alternative_name().unwrap().is_none());
        assert!(certificate.validity().is_valid());
        let validity = certificate.validity();
        let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert_eq!(seconds, 10 * 24 * 3600 + 3600);
        let other = issue(&name("dev"), &Role::Client { names: vec![] }, 10).unwrap();
        assert_ne!(issued.sha256(), other.sha256());
    }

    #[test]
    fn a_servers_certificate_holds_its_names() {
        let names = LOCAL_NAMES.map(str::to_owned).to_vec();
        let issued = issue(&name("server"), &Role::Server { names }, DEFAULT_DAYS).unwrap();
        let (_, certificate) = X509Certificate::from_der(issued.der()).unwrap();
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth);
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        let loopback_v6 = std::net::Ipv6Addr::LOCALHOST.octets();
        let expected = [
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
            GeneralName::IPAddress(&loopback_v6),
        ];
        assert_eq!(names[..], expected);
    }

    #[test]
    fn files_are_written_once_and_load_as_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(&folder.path().join("certs"), &name("dev"));
        let issued = issue(&name("dev"), &Role::Client { names: vec![] }, 1).unwrap();
        issued.write(&files).unwrap();
        crate::client::Credentials::load(&files.certificate, Some(&files.key)).unwrap();
        assert!(!format!("{issued:?}").contains("PRIVATE"));

        let before = (fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap());
        let (path, error) = issued.write(&files).unwrap_err();
        assert_eq!((path, error.kind()), (files.key.clone(), io::ErrorKind::AlreadyExists));
        assert_eq!((fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap()), before);

        fs::remove_file(&files.key).unwrap();
        let (path, _) = issued.write(&files).unwrap_err();
        assert_eq!(path, files.certificate);
        assert!(!files.key.exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            fs::remove_file(&files.certificate).unwrap();
            issued.write(&files).unwrap();
            assert_eq!((mode(&files.key), mode(&folder.path().join("certs"))), (0o600, 0o700));
        }
    }
}
