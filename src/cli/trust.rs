//! Connects to a trusted server, and asks about an unknown one.
//!
//! Trust is never silent: a server is accepted because its certificate was named, or the user said yes here.

use std::io;
use std::time::Duration;

use super::target::{Target, TrustSource};
use super::{Failure, output, question};
use crate::client::{Address, ConnectError, Connection, Connector, Known, KnownServers, Trust};
use crate::identity::Thumbprint;
use crate::text::shown;

/// Maximum characters of a server's text shown.
pub(super) const MAX_SHOWN_CHARS: usize = 2000;

/// A trusted server, for any number of connections.
pub(super) struct Trusted {
    connector: Connector,
    /// Context for the message if there is no connection.
    origin: Origin,
}

enum Origin {
    Given { words: String, is_from_config: bool },
    Remembered(KnownServers),
}

impl Trusted {
    /// Determines if the target is trusted, and asks if that is unknown. The timeout is based on `most`, the
    /// time that commands may take.
    pub(super) async fn settle(target: Target, most: Option<Duration>) -> Result<Self, Failure> {
        let Target { address, trust, credentials, config } = target;
        let (trust, origin) = match trust {
            TrustSource::Given(trust, words) => {
                (trust, Origin::Given { words, is_from_config: config.is_some() })
            }
            TrustSource::Remembered(mut known) => {
                let pins =
                    match known.look_up(&address).map_err(|error| Failure::unreachable(error.to_string()))? {
                        Known::Yes(pins) => pins,
                        Known::No => vec![introduce(&address, &mut known, most).await?],
                    };
                (Trust::Pinned(pins), Origin::Remembered(known))
            }
        };
        let connector = connector(address, &trust, Some(&credentials))?.for_commands_of(most);
        Ok(Self { connector, origin })
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        self.connector.connect().await.map_err(|error| self.explain(&error))
    }

    /// Connects, unless nothing listens at the server's address.
    pub(super) async fn connect_if_running(&self) -> Result<Option<Connection>, Failure> {
        match self.connector.connect().await {
            Ok(connection) => Ok(Some(connection)),
            Err(ConnectError::Connect { source, .. })
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                Ok(None)
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// The connector.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    fn explain(&self, error: &ConnectError) -> Failure {
        if let (ConnectError::NotTrusted { address, source }, Origin::Remembered(known)) =
            (error, &self.origin)
            && let Some(changed) = known.changed(address, source.presented)
        {
            return Failure::unreachable(changed.to_string());
        }
        let mut message = shown(&error.to_string(), MAX_SHOWN_CHARS).to_string();
        match (error, &self.origin) {
            (ConnectError::NotTrusted { .. }, Origin::Given { words, .. }) => {
                message.push_str(&format!("\nNothing was sent. This call trusts only {words}."));
            }
            (ConnectError::Connect { .. }, Origin::Given { is_from_config: true, .. }) => {
                message.push_str("\nIs the server running? `lictor serve` starts it.");
            }
            _ => {}
        }
        Failure::unreachable(message)
    }
}

/// Obtains an unknown server's certificate, and asks the user about trusting it.
async fn introduce(
    address: &Address,
    known: &mut KnownServers,
    most: Option<Duration>,
) -> Result<Thumbprint, Failure> {
    // With no pin the handshake ends at the server's certificate, before the client's is sent.
    let stranger = connector(address.clone(), &Trust::Pinned(Vec::new()), None)?.for_commands_of(most);
    let presented = match stranger.connect().await {
        Err(ConnectError::NotTrusted { source, .. }) => source.presented,
        Err(error) => {
            return Err(Failure::unreachable(shown(&error.to_string(), MAX_SHOWN_CHARS).to_string()));
        }
        Ok(_) => return Err(Failure::unreachable("the server has no certificate")),
    };
    if !output::is_interactive() {
        return Err(Failure::unreachable(unknown_server(address, presented)));
    }
    if !ask(address, presented)? {
        return Err(Failure::unreachable(format!("{address} is not trusted; nothing was sent")));
    }
    known.add(address, presented).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(presented)
}

fn unknown_server(address: &Address, presented: Thumbprint) -> String {
    format!(
        "{address} is not known, and there is no terminal to ask whether to trust it. Nothing was sent.\n\
         If it is the right one (`lictor cert thumbprint FILE` on the server shows its own), give\n\
         --pin sha256:{presented}"
    )
}

fn ask(address: &Address, presented: Thumbprint) -> Result<bool, Failure> {
    question::confirm(&format!(
        "The server {address} is not known. The thumbprint of its certificate is\n\
         sha256:{presented}\n\
         On the server, `lictor cert thumbprint FILE` shows what it must be.\n\
         Trust this server from now on?"
    ))
}

fn connector(
    address: Address,
    trust: &Trust,
    credentials: Option<&crate::client::Credentials>,
) -> Result<Connector, Failure> {
    Connector::new(address, trust, credentials)
        .map_err(|error| Failure::usage(format!("cannot set up TLS: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_asked_is_told_how_to_pin() {
        let presented = Thumbprint::sha256_of(b"x");
        let words = unknown_server(&"a.example".parse().unwrap(), presented);
        assert!(words.contains(&format!("--pin sha256:{presented}")), "{words}");
        assert!(words.contains("lictor cert thumbprint FILE"), "{words}");
    }
}
