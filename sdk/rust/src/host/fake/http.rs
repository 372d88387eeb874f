//! The web of a test: requests are checked by the host's rules and answered by a test's function.

use super::bounds::{answering, carry, operation};
use super::world;
use crate::http::{Error, Request, Response};

const MAX_METHOD_BYTES: usize = 32;
const MAX_AUTHORITY_BYTES: usize = 1 << 10;
const MAX_PATH_BYTES: usize = 16 << 10;
/// Limit on a request's headers, and the host's overhead for each.
const MAX_FIELDS_BYTES: usize = 16 << 10;
const FIELD_BYTES: usize = 224;
/// Headers that only the host sets.
const OF_THE_HOST: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

pub(crate) fn send(request: Request) -> Result<Response, Error> {
    let (authority, path) = request.parts()?;
    let headers: usize = request.headers().iter().map(|(name, value)| name.len() + value.len()).sum();
    operation(request.method().len() + request.url().len() + headers + request.content().len());
    check_headers(&request)?;
    check_method(request.method())?;
    check_url(authority, path)?;
    let web = world(|world| world.web.clone()).ok_or(Error::Denied)?;
    let (answer, is_in_time) = answering(request.bound(), || web(&request));
    if !is_in_time {
        return Err(Error::TimedOut);
    }
    let response = request.bounded(answer?)?;
    carry(response.body.len());
    Ok(response)
}

fn is_token(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_fit)
}

fn check_headers(request: &Request) -> Result<(), Error> {
    let mut bytes = 0;
    for (name, value) in request.headers() {
        let is_length = name.eq_ignore_ascii_case("content-length");
        let is_right_length = || value.trim_ascii() == request.content().len().to_string().as_bytes();
        let has_control = value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        let is_the_hosts = OF_THE_HOST.iter().any(|known| name.eq_ignore_ascii_case(known));
        if !is_token(name) || has_control || is_the_hosts || (is_length && !is_right_length()) {
            return Err(Error::BadRequest(["the header ", name, " can't be sent"].concat()));
        }
        bytes += name.len() + value.len() + FIELD_BYTES;
    }
    if bytes > MAX_FIELDS_BYTES { bad("the headers are too large") } else { Ok(()) }
}

fn check_method(method: &str) -> Result<(), Error> {
    if !is_token(method) || method.len() > MAX_METHOD_BYTES {
        return bad("the method can't be one");
    }
    if method == "CONNECT" { Err(Error::Denied) } else { Ok(()) }
}

fn check_url(authority: &str, path: &str) -> Result<(), Error> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._~!$&'()*+,;=-:[]".contains(&byte);
    if authority.len() > MAX_AUTHORITY_BYTES || !authority.bytes().all(is_fit) {
        return bad("the URL's host can't be one");
    }
    if path.len() > MAX_PATH_BYTES || !path.is_ascii() || path.contains(['<', '>']) {
        return bad("the URL's path can't be one");
    }
    Ok(())
}

fn bad(what: &str) -> Result<(), Error> {
    Err(Error::BadRequest(what.into()))
}
