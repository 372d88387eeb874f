//! Connections to the hosts of granted URLs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, join};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

use super::allow::{Host, Origin, Scheme};
use super::gate::{Gate, Web};
use super::received::Received;
use super::{address, fault, names};
use crate::plugin::host::volume::Volume;
use crate::system_trust::trusting_system;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;

/// Time limit for looking a host up, connecting to it and agreeing on TLS, together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to `origin` for one request. Its name may lead to `networks` beside the public one. All bytes
/// from the server, including those of the handshake, are taken from `volume`.
pub(super) async fn connect(
    gate: &Gate,
    origin: &Origin,
    networks: &[IpNet],
    volume: &Volume,
    most: Option<Duration>,
) -> Result<Box<dyn Stream>, Error> {
    let deadline = Instant::now() + most.unwrap_or(CONNECT_TIMEOUT).min(CONNECT_TIMEOUT);
    let found = timeout_at(deadline, addresses(gate, origin, networks)).await;
    let addresses = found.map_err(|_elapsed| Error::DnsTimeout)??;
    let (reading, writing) = first_that_answers(&addresses, deadline).await?.into_split();
    let stream = join(Received::new(reading, volume.clone()), writing);
    match origin.scheme {
        Scheme::Http => Ok(Box::new(stream)),
        Scheme::Https => {
            let secured = timeout_at(deadline, secure(&gate.web, &origin.host, stream)).await;
            secured.map_err(|_elapsed| Error::ConnectionTimeout)?
        }
    }
}

/// The addresses that a request to `origin` may go to.
async fn addresses(gate: &Gate, origin: &Origin, networks: &[IpNet]) -> Result<Vec<SocketAddr>, Error> {
    let name = match &origin.host {
        // The grant itself names this address, so any network is intended.
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, origin.port)]),
        Host::Name(name) => name.clone(),
    };
    let of_plugin = acquire(&gate.lookups).await?;
    let of_all = acquire(&gate.web.lookups).await?;
    // The resolver can't be cancelled, so a look-up keeps its permits until it ends, even beyond the request.
    let looking = spawn_blocking(move || {
        let _permits = (of_plugin, of_all);
        names::look_up(&name)
    });
    let found = looking.await.map_err(io::Error::other).and_then(|found| found);
    let found = found.map_err(|error| fault::of_lookup(&error))?;
    if found.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    let allowed = found.into_iter().filter(|address| {
        address::is_in(*address, networks) || address::is_public(*address) && !names::is_own(*address)
    });
    let allowed: Vec<_> = allowed.map(|address| SocketAddr::new(address, origin.port)).collect();
    if allowed.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(allowed) }
}

/// Acquires a permit to look a name up.
async fn acquire(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Ok(permit);
    }
    Counter::HttpLookupsDelayed.count();
    Arc::clone(permits).acquire_owned().await.map_err(|_closed| Error::DnsTimeout)
}

/// Tries the addresses in order, each with an equal part of the remaining time, so that a silent one does
/// not take all of it.
async fn first_that_answers(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let part =
            deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        last = match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Otherwise a request sent in pieces would wait for the previous piece's acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => fault::of_connect(&error),
            Err(_elapsed) => Error::ConnectionTimeout,
        };
    }
    Err(last)
}

async fn secure(web: &Web, host: &Host, stream: impl Stream + 'static) -> Result<Box<dyn Stream>, Error> {
    let name = match host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::TlsCertificateError)?,
        Host::Address(address) => ServerName::from(IpAddr::to_canonical(address)),
    };
    let tls = web.tls.get_or_try_init(tls_connector).await?;
    let stream = tls.connect(name, stream).await.map_err(|error| fault::of_tls(&error))?;
    Ok(Box::new(stream))
}

/// Makes a connector with the roots that the system trusts.
async fn tls_connector() -> Result<TlsConnector, Error> {
    let config = spawn_blocking(trusting_system);
    match config.await.map_err(|error| error.to_string()).and_then(|config| config) {
        Ok(config) => Ok(TlsConnector::from(Arc::new(config))),
        Err(error) => {
            tracing::error!(name: LASTING, target: "lictor::plugin", error, "plugins' requests to https are impossible");
            Err(Error::ConfigurationError)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::plugin::host::grants::HttpGrant;
    use crate::plugin::host::volume::VolumeLimits;

    #[tokio::test]
    async fn look_ups_that_do_not_end_hold_up_their_own_plugin_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Arc::new(Web::new(4));
        let [slow, other] = [(); 2].map(|()| Gate::new(&HttpGrant::default(), Arc::clone(&web)));
        let most = u32::try_from(slow.lookups.available_permits()).unwrap();
        let _of_plugin = Arc::clone(&slow.lookups).acquire_many_owned(most).await.unwrap();
        let _of_all = Arc::clone(&web.lookups).acquire_many_owned(most).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = Origin::parse(Scheme::Http, &format!("localhost:{port}")).unwrap();
        let networks = ["127.0.0.0/8".parse().unwrap()];
        let volume = Volume::new(VolumeLimits { calls: 0, bytes: 0 });
        let late = connect(&slow, &origin, &networks, &volume, Some(Duration::from_millis(20))).await;
        assert!(matches!(late, Err(Error::DnsTimeout)));
        assert!(connect(&other, &origin, &networks, &volume, None).await.is_ok());
        let prohibited = connect(&other, &origin, &[], &volume, None).await;
        assert!(matches!(prohibited, Err(Error::DestinationIpProhibited)));
    }
}
