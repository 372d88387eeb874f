//! TLS to servers that the system's own authorities vouch for.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;

use crate::identity::{Root, Servers};

/// Makes the settings of a client that trusts the authorities that the system does. Reads their files, which
/// takes a while. Sessions are not resumed: a resumed one is not verified again, and those of different users
/// of the settings must not be connected.
///
/// # Errors
///
/// If there is no authority, in words.
pub fn trusting_system() -> Result<ClientConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<_> = found.certs.into_iter().filter_map(Root::new).collect();
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(format!("the system has no root certificates {}", errors.join("; ")));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Servers::trusting(roots, &provider);
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = config.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
