//! HTTP requests, where `http = ["https://host"]` is granted.
//!
//! ```no_run
//! use lictor_plugin::prelude::*;
//!
//! fn create(name: &str) -> Result<u16, Failure> {
//!     let answer = http::Request::new("POST", "https://api.example.com/things")
//!         .header("content-type", "text/plain")
//!         .body(name)
//!         .timeout(Duration::from_secs(2))
//!         .send()?;
//!     Ok(answer.status)
//! }
//! ```
//!
//! A response of any status is a response. Redirects are not followed: the target has to be granted as well,
//! so the plugin decides.

mod error;
#[cfg(target_family = "wasm")]
pub(crate) mod exchange;
mod url;

use std::time::Duration;

pub use error::Error;

/// Most bytes of a response's body that are read unless [`Request::at_most`] says otherwise: 1 MiB, the
/// default limit of a reply.
pub const DEFAULT_BODY_BYTES: usize = 1024 * 1024;

/// Sends a `GET`.
pub fn get(url: &str) -> Result<Response, Error> {
    Request::new("GET", url).send()
}

/// A request to send.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
    body_bytes: usize,
}

impl Request {
    /// Makes a request without headers and body.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            body_bytes: DEFAULT_BODY_BYTES,
        }
    }

    /// Adds a header. `Host` and headers that concern only the connection are left to the host, and refused.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Gives up after this time, from the connection to the last byte of the body. By default the command's
    /// remaining time is the bound, and the host's own bounds apply to single steps.
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Reads at most this many bytes of the response's body. A longer one is [`Error::TooLarge`].
    pub fn at_most(mut self, body_bytes: usize) -> Self {
        self.body_bytes = body_bytes;
        self
    }

    /// Sends the request and waits for the whole response.
    pub fn send(self) -> Result<Response, Error> {
        crate::host::http::send(self)
    }

    /// Returns the method, such as `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the headers in order.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// Returns the body; empty if there is none.
    pub fn content(&self) -> &[u8] {
        &self.body
    }

    /// Fails if the URL is not valid.
    fn parsed(&self) -> Result<url::Url<'_>, Error> {
        url::Url::parse(&self.url).map_err(|what| Error::bad(&["no URL: ", what].concat()))
    }
}

#[cfg(not(target_family = "wasm"))]
impl Request {
    /// Returns the URL's host and path, as they are sent.
    pub(crate) fn parts(&self) -> Result<(&str, &str), Error> {
        self.parsed().map(|url| (url.authority, url.path))
    }

    /// Returns the time the request may take.
    pub(crate) fn bound(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns the response, unless it is too large.
    pub(crate) fn bounded(&self, response: Response) -> Result<Response, Error> {
        if response.body.len() > self.body_bytes {
            Err(Error::TooLarge(self.body_bytes))
        } else {
            Ok(response)
        }
    }
}

/// A server's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status, such as `200`.
    pub status: u16,
    /// The headers in order. Their names are unchanged.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// Makes a response without headers, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Returns true for a status of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the first header of this name, compared without case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Returns the body as text.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_in_any_case() {
        let headers = vec![("Content-Type".into(), b"text/plain".to_vec()), ("x".into(), vec![0xff])];
        let response = Response { status: 204, headers, body: Vec::new() };
        assert_eq!(response.header("content-type"), Some("text/plain"));
        assert_eq!((response.header("x"), response.header("y")), (None, None));
        assert!(response.is_success());
    }
}
