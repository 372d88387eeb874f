//! The certificate and key by which a client proves its identity.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::provider;
use crate::files::read_named;
use crate::identity::{PairFault, pair, pem};

/// Maximum size of a certificate file, including its chain, and of a key file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A client's certificate with its matching private key.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<CertifiedKey>,
}

/// Reasons why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The certificate's file can't be read as PEM.
    #[error("cannot read the certificate {}: {reason}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The key's file can't be read as PEM.
    #[error("cannot read the private key {}: {reason}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// Both files were read, but do not match.
    #[error(
        "cannot use the certificate {} with the private key {}: {fault}",
        .certificate.display(), .key.display()
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        fault: PairFault,
    },
}

impl Credentials {
    /// Reads a PEM certificate (with its chain, if any) and its PEM key. Without a key path, the key is in
    /// the file of the same name with the extension `.key`, or in the certificate's file.
    ///
    /// # Errors
    /// If a file cannot be read, holds something else, or the two do not belong together.
    pub fn load(certificate: &Path, key: Option<&Path>) -> Result<Self, CredentialsError> {
        let beside = certificate.with_extension("key");
        let key_file = key.unwrap_or(&beside);
        let no_certificate = |reason| CredentialsError::Certificate { path: certificate.to_owned(), reason };
        let no_key = |reason| CredentialsError::Key { path: key_file.to_owned(), reason };
        let bytes = read_named(certificate, MAX_FILE_BYTES).map_err(|fault| no_certificate(fault.what()))?;
        let chain = pem::certificates(&bytes).map_err(|fault| no_certificate(fault.in_full()))?;
        let bytes = match read_named(key_file, MAX_FILE_BYTES) {
            Err(fault) if key.is_none() && fault.is_missing() && pem::holds_key(&bytes) => bytes,
            read => read.map_err(|fault| no_key(fault.what()))?,
        };
        let private = pem::key(&bytes).map_err(|fault| no_key(fault.in_full()))?;
        let key = pair(chain, private, &provider()).map_err(|fault| CredentialsError::Pair {
            certificate: certificate.to_owned(),
            key: key_file.to_owned(),
            fault,
        })?;
        Ok(Self { key: Arc::new(key) })
    }

    /// Returns true if the certificate's key is where [`load`](Self::load) looks for it.
    #[must_use]
    pub fn has_key(certificate: &Path) -> bool {
        let is_in = || read_named(certificate, MAX_FILE_BYTES).is_ok_and(|bytes| pem::holds_key(&bytes));
        certificate.with_extension("key").exists() || is_in()
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }
}

/// Never shows the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    }

    #[test]
    fn a_pair_is_loaded_and_each_fault_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = written(folder.path(), "one");
        let (_, other_key) = written(folder.path(), "two");
        let absent = folder.path().join("absent");
        assert_eq!(
            format!("{:?}", Credentials::load(&certificate, Some(&key)).unwrap()),
            "Credentials { .. }"
        );
        for (certificate, key, words) in [
            (&absent, &key, "cannot read the certificate"),
            (&key, &key, "this file holds a private key, but no certificate"),
            (&certificate, &absent, "cannot read the private key"),
            (&certificate, &certificate, "this file holds a certificate, but no private key"),
            (
                &certificate,
                &other_key,
                "the private key is not the certificate's; where two belong together, `openssl x509",
            ),
        ] {
            let error = Credentials::load(certificate, Some(key)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_key_is_found_beside_its_certificate_or_with_it_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = written(folder.path(), "one");
        assert!(Credentials::has_key(&certificate));
        Credentials::load(&certificate, None).unwrap();
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let both = folder.path().join("both.pem");
        fs::write(&both, text(&key) + &text(&certificate)).unwrap();
        fs::remove_file(&key).unwrap();
        assert!(Credentials::has_key(&both) && !Credentials::has_key(&certificate));
        Credentials::load(&both, None).unwrap();
        let error = Credentials::load(&certificate, None).unwrap_err().to_string();
        assert!(error.contains("one.key: there is no such file"), "{error}");
    }
}
