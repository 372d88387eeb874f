//! The contents of a certificate file.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::files::read_named;
use crate::identity::pem::{self, Holds};
use crate::identity::{Doubt, Proofs, Thumbprint, subject};
use crate::text::shown;

/// Maximum characters of a subject shown.
const MAX_SUBJECT_CHARS: usize = 256;

/// Maximum size of the file; a chain of certificates takes some kilobytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The parts of a certificate by which people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    subject: String,
    /// Compared with `uris` in the config.
    uris: Vec<String>,
    not_before: i64,
    not_after: i64,
    sha1: Thumbprint,
    sha256: Thumbprint,
    doubt: Option<Doubt>,
}

/// Reads every certificate in a PEM file, or the one in a DER file.
pub(crate) fn certificates_in(path: &Path) -> Result<Vec<Certificate>, String> {
    let fault = |reason: &dyn fmt::Display| format!("{}: {reason}", path.display());
    let bytes = read_named(path, MAX_FILE_BYTES).map_err(|unreadable| fault(&unreadable.what()))?;
    read(&bytes).map_err(|reason| fault(&reason))
}

fn read(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    if memchr::memmem::find(bytes, b"-----").is_none() {
        let no_certificate = "it holds no certificate, neither as PEM nor as DER";
        return Certificate::parse(bytes).map(|one| vec![one]).map_err(|_| no_certificate.to_owned());
    }
    let (mut certificates, mut has_key) = (Vec::new(), false);
    for block in pem::blocks(bytes).map_err(|fault| fault.in_full())? {
        match block.holds {
            Holds::Certificate(der) => certificates.push(Certificate::parse(&der)?),
            Holds::Key(_) => has_key = true,
            Holds::List(_) | Holds::Parameters | Holds::Other(_) => {}
        }
    }
    match (certificates.is_empty(), has_key) {
        (false, _) => Ok(certificates),
        (true, true) => {
            Err("it holds a private key and no certificate; name the certificate's file".to_owned())
        }
        (true, false) => Err("it holds no PEM certificate".to_owned()),
    }
}

impl Certificate {
    fn parse(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| "a certificate in it cannot be read".to_owned())?;
        if !rest.is_empty() {
            return Err("there are extra bytes after a certificate in it".to_owned());
        }
        let seconds = |time: ASN1Time| time.timestamp();
        Ok(Self {
            subject: subject(&certificate, MAX_SUBJECT_CHARS),
            uris: uris(&certificate),
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            sha1: Thumbprint::sha1_of(der),
            sha256: Thumbprint::sha256_of(der),
            doubt: Proofs::new(&aws_lc_rs::default_provider()).doubt(&der.into()),
        })
    }

    /// Returns the reason why it admits nobody, or not everybody, if there is one.
    pub(crate) fn doubt(&self) -> Option<String> {
        Some(match self.doubt.as_ref()? {
            Doubt::Always(why) => format!("the server will never accept this certificate: {why}"),
            Doubt::WithTls12(why) => {
                format!("the server will not accept this certificate with TLS 1.2: {why}")
            }
        })
    }

    fn remark(&self, now: i64) -> &'static str {
        if now < self.not_before {
            "  (not yet)"
        } else if now > self.not_after {
            "  (EXPIRED)"
        } else {
            ""
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let subject = if self.subject.is_empty() { "(empty)" } else { &self.subject };
        writeln!(f, "  subject  {subject}")?;
        for uri in &self.uris {
            writeln!(f, "  uri      {uri}")?;
        }
        writeln!(f, "  valid    {} to {}{}", utc(self.not_before), utc(self.not_after), self.remark(now))?;
        writeln!(f, "  sha256   {}", self.sha256)?;
        write!(f, "  sha1     {}", self.sha1)
    }
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    let uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => Some(shown(uri, MAX_SUBJECT_CHARS).to_string()),
        _ => None,
    });
    uris.collect()
}

/// Formats a time as RFC 3339 in UTC.
fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::issue::{Issued, Role, issue};
    use super::*;

    fn issued() -> Issued {
        issue(&"dev".parse().unwrap(), &Role::Client { names: vec![] }, 5).unwrap()
    }

    #[test]
    fn pem_and_der_give_the_same_certificate() {
        let issued = issued();
        let pem = read(issued.certificate_pem.as_bytes()).unwrap();
        assert_eq!(pem, read(issued.der()).unwrap());
        assert_eq!((pem[0].sha1, pem[0].sha256), (Thumbprint::sha1_of(issued.der()), issued.sha256()));
        let text = pem[0].to_string();
        for part in ["subject  CN=dev", "valid    20", "sha256   ", "sha1     "] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("EXPIRED"));
        let two = format!("# note\n{}{}", issued.certificate_pem, self::issued().certificate_pem);
        assert_eq!(read(two.as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn uris_are_shown_as_the_config_wants_them() {
        let mut params = rcgen::CertificateParams::default();
        let uri = rcgen::SanType::URI("spiffe://example.org/laptop".try_into().unwrap());
        params.subject_alt_names = vec![uri];
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let text = read(made.der()).unwrap()[0].to_string();
        assert!(text.contains("\n  uri      spiffe://example.org/laptop\n  valid "), "{text}");
    }

    #[test]
    fn dates_that_are_past_or_to_come_are_marked() {
        let certificate = read(issued().der()).unwrap().remove(0);
        assert_eq!(certificate.remark(certificate.not_before - 1), "  (not yet)");
        assert_eq!(certificate.remark(certificate.not_before), "");
        assert_eq!(certificate.remark(certificate.not_after), "");
        assert_eq!(certificate.remark(certificate.not_after + 1), "  (EXPIRED)");
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_file_without_a_certificate_says_what_it_is() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut trailing = issued().der().to_vec();
        trailing.push(0);
        for (bytes, words) in [
            (key.serialize_pem().into_bytes(), "holds a private key and no certificate"),
            (key.serialize_der(), "holds no certificate, neither"),
            (key.public_key_pem().into_bytes(), "holds no PEM certificate"),
            (Vec::new(), "holds no certificate, neither"),
            (trailing, "holds no certificate, neither"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(), "cannot be read"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec(), "does not end"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let error = certificates_in(Path::new("no/such/file")).unwrap_err();
        assert!(error.starts_with("no/such/file: "), "{error}");
    }
}
