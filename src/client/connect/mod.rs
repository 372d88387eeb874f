//! From an address to a connection on which the server has said that it accepts requests.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::connection::{CallError, Connection};
use super::reply::{Plain, Refusal};
use super::trust::{NotTrusted, not_trusted};
use super::{Address, Credentials, Trust, provider};
use crate::identity::{Unproven, server_fault};

/// Timeout of each step: connecting, and the TLS handshake with the server's greeting.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum timeout of both steps together, however little time a command has: they cost more than a command.
const LEAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections to one server as one client.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    tls: TlsConnector,
    /// Timeout of both steps together.
    patience: Duration,
}

/// The reason for having no connection. In none of these cases has a request been sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The TCP connection failed.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The server's address.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{address} did not answer within {} seconds ({step})", waited.as_secs_f32())]
    TimedOut {
        /// The server's address.
        address: Address,
        /// Elapsed time.
        waited: Duration,
        /// The step that timed out.
        step: &'static str,
    },
    /// The server is not trusted.
    #[error("{address}: {source}")]
    NotTrusted {
        /// The server's address.
        address: Address,
        /// The certificate that it presented.
        source: NotTrusted,
    },
    /// The handshake failed.
    #[error("no TLS connection with {address}: {reason}")]
    Tls {
        /// The server's address.
        address: Address,
        /// The cause.
        reason: String,
    },
    /// The server does not admit this client.
    #[error("{address} does not admit this client: {refusal}")]
    Refused {
        /// The server's address.
        address: Address,
        /// The server's refusal.
        refusal: Refusal,
    },
    /// The server did not greet as a Lictor server does.
    #[error("{address} did not greet as a Lictor server does: {reason}")]
    Greeting {
        /// The server's address.
        address: Address,
        /// The fault.
        reason: String,
    },
}

impl Connector {
    /// Prepares connections to `address`.
    ///
    /// # Errors
    /// If TLS cannot be set up with these trust settings.
    pub fn new(
        address: Address,
        trust: &Trust,
        credentials: Option<&Credentials>,
    ) -> Result<Self, rustls::Error> {
        let provider = provider();
        let verifier = trust.verifier(&provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match credentials {
            Some(credentials) => builder.with_client_cert_resolver(credentials.resolver()),
            None => builder.with_no_client_auth(),
        };
        // A resumed session would skip the check of the server's certificate.
        config.resumption = Resumption::disabled();
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)), patience: 2 * STEP_TIMEOUT })
    }

    /// Limits the timeout to `most`, the time that a command may take, if set; but never to less than two
    /// seconds.
    #[must_use]
    pub fn for_commands_of(self, most: Option<Duration>) -> Self {
        let patience = most.map_or(self.patience, |most| most.max(LEAST_TIMEOUT).min(self.patience));
        Self { patience, ..self }
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The TLS connector and the server name, for callers that make connections of another kind than
    /// [`Connection`]. Trusts the same servers as this connector, and resumes no session.
    #[must_use]
    pub fn tls(&self) -> (TlsConnector, ServerName<'static>) {
        (self.tls.clone(), self.address.server_name())
    }

    /// Connects, performs the handshake and waits for the server's greeting.
    ///
    /// # Errors
    /// If there is no server, it is not trusted, or it does not admit this client.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let target = (self.address.host(), self.address.port());
        let end = Instant::now() + self.patience;
        let stream = self
            .within("connecting", end, TcpStream::connect((target.0.as_str(), target.1)))
            .await?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| ConnectError::Connect { address: self.address.clone(), source })?;
        self.within("TLS handshake and greeting", end, self.greeted(stream)).await?
    }

    async fn greeted(&self, stream: TcpStream) -> Result<Connection, ConnectError> {
        let stream = self
            .tls
            .connect(self.address.server_name(), stream)
            .await
            .map_err(|error| self.tls_error(error))?;
        let mut connection = Connection::new(stream);
        let address = self.address.clone();
        match connection.greeting().await {
            Ok(Plain::Text(text)) if text == "OK" => Ok(connection),
            Ok(Plain::Text(_)) => {
                Err(ConnectError::Greeting { address, reason: "it said something else".to_owned() })
            }
            Ok(Plain::Err(refusal)) => Err(ConnectError::Refused { address, refusal }),
            // In TLS 1.3 a server rejects the client's certificate only after the client has completed its
            // handshake.
            Err(CallError::Lost(error)) => Err(self.tls_error(error)),
            Err(error) => Err(ConnectError::Greeting { address, reason: error.to_string() }),
        }
    }

    async fn within<T>(
        &self,
        step: &'static str,
        end: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        let waited = STEP_TIMEOUT.min(self.patience);
        let elapsed = |_| ConnectError::TimedOut { address: self.address.clone(), waited, step };
        timeout_at(end.min(Instant::now() + STEP_TIMEOUT), future).await.map_err(elapsed)
    }

    fn tls_error(&self, error: io::Error) -> ConnectError {
        let address = self.address.clone();
        let reason = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => {
                if let Some(source) = not_trusted(tls) {
                    return ConnectError::NotTrusted { address, source: source.clone() };
                }
                tls_reason(tls)
            }
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the server closed the connection in the handshake".to_owned()
            }
            None => error.to_string(),
        };
        ConnectError::Tls { address, reason }
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS".to_owned(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a client certificate".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server takes no TLS version that this client speaks (1.2, 1.3)".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError),
        ) => {
            format!(
                "the server could not verify that this client holds its certificate's key (alert {alert:?}); its log and \
                 `lictor check` say why"
            )
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the server ended the handshake with the alert {alert:?}; its log says why")
        }
        rustls::Error::InvalidCertificate(fault) => match Unproven::of(error) {
            Some(unproven) => unproven.to_string(),
            None => format!("the server's certificate is refused: {}", refused(fault)),
        },
        error => error.to_string(),
    }
}

/// Message for a fault in a server's certificate that needs an authority, with a remedy.
fn refused(fault: &CertificateError) -> String {
    let advice = match fault {
        CertificateError::UnknownIssuer => " (--ca)",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "; call it by a name in the certificate, or pin it (--pin)"
        }
        CertificateError::Other(_) | CertificateError::BadEncoding => "; it can still be pinned (--pin)",
        _ => "",
    };
    format!("{}{advice}", server_fault(fault))
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
