//! Reasons for a missing response: forty codes reduced to the five cases in which a plugin acts differently.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use crate::Failure;
use crate::bindings::wasi::http::types::ErrorCode;

/// Reason why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The URL, the method or a header is not valid; says why.
    BadRequest(String),
    /// The address is not granted to the plugin.
    Denied,
    /// The request took longer than allowed.
    TimedOut,
    /// The response's body is longer than this many bytes.
    TooLarge(usize),
    /// Any other reason, mostly an unreachable server; says which.
    Unavailable(Cow<'static, str>),
}

impl Display for Error {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.words())
    }
}

impl std::error::Error for Error {}

/// `bad-arguments`, `denied`, `failed` for a body that is too large, else `unavailable`: the host's failure.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::BadRequest(_) => "bad-arguments",
            Error::Denied => "denied",
            Error::TooLarge(_) => "failed",
            Error::TimedOut | Error::Unavailable(_) => "unavailable",
        };
        Self::of_host(code, error.words().into_owned())
    }
}

impl Error {
    fn words(&self) -> Cow<'_, str> {
        match self {
            Self::BadRequest(what) => Cow::Borrowed(what),
            Self::Denied => Cow::Borrowed("the address is not granted to the plugin"),
            Self::TimedOut => Cow::Borrowed("the server did not answer in time"),
            Self::TooLarge(most) => Cow::Owned(format!("the server's answer has more than {most} bytes")),
            Self::Unavailable(what) => Cow::Borrowed(what),
        }
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        use ErrorCode as Code;
        let words = match code {
            Code::HttpRequestDenied => return Self::Denied,
            Code::DnsTimeout
            | Code::ConnectionTimeout
            | Code::ConnectionReadTimeout
            | Code::ConnectionWriteTimeout
            | Code::HttpResponseTimeout => return Self::TimedOut,
            Code::HttpRequestMethodInvalid => return Self::bad("the method can't be one"),
            Code::HttpRequestUriInvalid => return Self::bad("the URL can't be one"),
            Code::HttpRequestUriTooLong => return Self::bad("the URL is too long"),
            Code::HttpRequestHeaderSectionSize(_) | Code::HttpRequestHeaderSize(_) => {
                return Self::bad("the headers are too large");
            }
            Code::HttpRequestBodySize(_) => return Self::bad("the body is too large"),
            Code::InternalError(Some(words)) => return Self::Unavailable(Cow::Owned(words)),
            Code::DnsError(_) | Code::DestinationNotFound => "there is no such host",
            Code::DestinationIpProhibited => return Self::Denied,
            Code::DestinationUnavailable | Code::DestinationIpUnroutable => "the server can't be reached",
            Code::ConnectionRefused => "the server refuses the connection",
            Code::ConnectionTerminated => "the server broke off the connection",
            Code::ConnectionLimitReached => "there are too many connections",
            Code::TlsProtocolError | Code::TlsAlertReceived(_) => "the server can't be spoken to by TLS",
            Code::TlsCertificateError => "the server's certificate can't be trusted",
            Code::HttpResponseIncomplete => "the server's answer is incomplete",
            Code::LoopDetected => "the request would go round in a circle",
            _ => "the server does not speak HTTP as it should",
        };
        Self::Unavailable(Cow::Borrowed(words))
    }
}

impl Error {
    pub(super) fn bad(what: &str) -> Self {
        Self::BadRequest(String::from(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_becomes_a_failure() {
        let code = |code| String::from(Failure::from(Error::from(code)).code());
        assert_eq!(code(ErrorCode::HttpRequestDenied), "denied");
        assert_eq!(code(ErrorCode::ConnectionReadTimeout), "unavailable");
        assert_eq!(code(ErrorCode::HttpRequestUriInvalid), "bad-arguments");
        assert_eq!(Failure::from(Error::TooLarge(5)).message(), "the server's answer has more than 5 bytes");
    }
}
