//! Failures of a request, as error codes of `wasi:http`.

use std::error::Error as _;
use std::io;

use rustls::Error as TlsError;
use wasmtime_wasi_http::Error;

use crate::plugin::host::volume::VolumeSpent;

/// The name could not be looked up.
pub(super) fn of_lookup(error: &io::Error) -> Error {
    tracing::debug!(target: "lictor::plugin", %error, "a name was not found");
    Error::DnsError { rcode: None, info_code: None }
}

/// Connecting failed.
pub(super) fn of_connect(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
        _ => Error::DestinationUnavailable,
    }
}

/// The handshake failed.
pub(super) fn of_tls(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(TlsError::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: alert.as_str().map(str::to_owned),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// The exchange failed before the response's header was complete.
pub(super) fn of_exchange(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() || is_spent(error) {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    of_body(error)
}

/// The response's body failed, or the request's body reported an error.
pub(super) fn of_body(error: &hyper::Error) -> Error {
    let source = error.source();
    if let Some(Error::HttpRequestBodySize(size)) = source.and_then(|source| source.downcast_ref()) {
        return Error::HttpRequestBodySize(*size);
    }
    if is_spent(error) {
        return Error::HttpResponseBodySize(None);
    }
    let of_socket = source.and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    if error.is_incomplete_message() || of_socket == Some(io::ErrorKind::UnexpectedEof) {
        return Error::HttpResponseIncomplete;
    }
    match of_socket {
        // For example, chunks whose length is not a number.
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Error::HttpProtocolError,
        None if error.is_parse() || error.is_user() => Error::HttpProtocolError,
        _ => Error::ConnectionTerminated,
    }
}

/// Returns true if the call's volume was too small for the data that the server sent.
fn is_spent(error: &hyper::Error) -> bool {
    let of_socket = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    of_socket.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<VolumeSpent>())
}

/// The code and the words that report `error` to a plugin.
pub(super) fn told(error: &Error) -> (&'static str, &'static str) {
    let words = match error {
        Error::HttpRequestDenied => return ("denied", "this URL is not granted to the plugin"),
        Error::DestinationIpProhibited => {
            return ("denied", "the URL's host leads to an address that is not granted to the plugin");
        }
        Error::HttpRequestUriInvalid => return ("bad-arguments", "the URL can't be one"),
        Error::HttpResponseHeaderSectionSize(_) => {
            return (
                "failed",
                "the header of the server's answer is too large, or has an impossible Content-Length",
            );
        }
        Error::HttpResponseBodySize(_) => return ("failed", "the server's answer is too large"),
        Error::DnsTimeout
        | Error::ConnectionTimeout
        | Error::ConnectionReadTimeout
        | Error::ConnectionWriteTimeout
        | Error::HttpResponseTimeout => "the server did not answer in time",
        Error::DnsError { .. } | Error::DestinationNotFound => "there is no such host",
        Error::DestinationUnavailable | Error::DestinationIpUnroutable => "the server can't be reached",
        Error::ConnectionRefused => "the server refuses the connection",
        Error::ConnectionTerminated => "the server broke off the connection",
        Error::ConnectionLimitReached => "there are too many connections",
        Error::TlsProtocolError | Error::TlsAlertReceived { .. } => "the server can't be spoken to by TLS",
        Error::TlsCertificateError => "the server's certificate can't be trusted",
        Error::HttpResponseIncomplete => "the server's answer is incomplete",
        Error::ConfigurationError => "requests to https are impossible on this machine",
        _ => "the server does not speak HTTP as it should",
    };
    ("unavailable", words)
}
