//! The decision about a request: the page that it asks for, or the reason why it gets none. Pure.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HOST, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Version};

use super::content::{Asked, Refusal, Visitor};
use super::health::Detail;

/// The way to a listener, which decides what it shows and to whom.
#[derive(Clone)]
pub enum Door {
    /// A Unix socket: its mode decides who comes.
    Socket,
    /// A loopback address. Any local user comes, and so may a web page in a user's browser, by a name that
    /// its author has pointed here (DNS rebinding).
    Loopback,
    /// An address for anybody, with the health alone.
    Health,
    /// A client that is known by its certificate.
    Client(Arc<dyn Visitor>),
}

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Metrics,
    Live(Detail),
    Ready(Detail),
}

/// The body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Some,
}

/// A request that gets no page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) words: Cow<'static, str>,
    pub(super) then: Then,
}

/// The connection's fate after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Close,
}

impl Refused {
    fn new(status: StatusCode, words: impl Into<Cow<'static, str>>, then: Then) -> Self {
        Self { status, words: words.into(), then }
    }
}

/// Returns the page that a request with this `head` asks for.
///
/// # Errors
///
/// The refusal of a request that gets none.
pub(super) fn page(door: &Door, head: &Parts, body: Body) -> Result<Page, Refused> {
    check_host(door, head)?;
    if body == Body::Some {
        return Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Requests with a body are not accepted",
            Then::Close,
        ));
    }
    let detail = match head.uri.query().is_some_and(is_verbose) {
        true => Detail::Verbose,
        false => Detail::Brief,
    };
    let page = match (head.uri.path(), door) {
        ("/metrics", Door::Socket | Door::Loopback | Door::Client(_)) => Page::Metrics,
        ("/livez", _) => Page::Live(detail),
        ("/readyz", _) => Page::Ready(detail),
        _ => return Err(Refused::new(StatusCode::NOT_FOUND, "There is no such page", Then::GoOn)),
    };
    if head.method != Method::GET && head.method != Method::HEAD {
        let words = "Only GET and HEAD are answered";
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, words, Then::GoOn));
    }
    check_client(door, page).map(|()| page)
}

/// Checks that there is one host, and on loopback that it is this machine.
fn check_host(door: &Door, head: &Parts) -> Result<(), Refused> {
    let hosts: Vec<_> = head.headers.get_all(HOST).iter().collect();
    if hosts.len() > 1 || (hosts.is_empty() && head.version >= Version::HTTP_11) {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "Send exactly one Host header", Then::Close));
    }
    let Door::Loopback = door else { return Ok(()) };
    let forbidden = |words| Err(Refused::new(StatusCode::FORBIDDEN, words, Then::Close));
    let named = hosts.into_iter().map(|host| Authority::try_from(host.as_bytes()).ok());
    let mut named = named.chain(head.uri.authority().map(|authority| Some(authority.clone())));
    if named.any(|name| !name.is_some_and(|name| is_this_machine(&name))) {
        return forbidden(
            "Host must be localhost or a loopback address: write http://127.0.0.1 and the port",
        );
    }
    if head.headers.contains_key(ORIGIN) {
        return forbidden("Web pages are not answered: the request has an Origin");
    }
    Ok(())
}

fn check_client(door: &Door, page: Page) -> Result<(), Refused> {
    let Door::Client(visitor) = door else { return Ok(()) };
    let asked = if page == Page::Metrics { Asked::Metrics } else { Asked::Health };
    visitor.check(asked).map_err(|refusal| match refusal {
        Refusal::Forbidden(words) => Refused::new(StatusCode::FORBIDDEN, words, Then::GoOn),
        Refusal::Gone(words) => Refused::new(StatusCode::FORBIDDEN, words, Then::Close),
    })
}

/// Returns true for the names and addresses by which this machine reaches itself.
fn is_this_machine(name: &Authority) -> bool {
    let host = name.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_name = || host.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    !name.as_str().contains('@') && address.map_or_else(|_| is_name(), |address| address.is_loopback())
}

fn is_verbose(query: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some("verbose"))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// A client that may see this and no more.
    struct Known(Result<(), Refusal>);

    impl Visitor for Known {
        fn check(&self, asked: Asked) -> Result<(), Refusal> {
            if asked == Asked::Metrics { self.0.clone() } else { Ok(()) }
        }
    }

    fn status(door: &Door, uri: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        page(door, &head, Body::None).map_or_else(|refused| refused.status.as_u16(), |_| 200)
    }

    #[test]
    fn the_door_decides() {
        let client = |known| Door::Client(Arc::new(Known(known)));
        let doors = [
            (Door::Socket, 200, 200, 200),
            (Door::Loopback, 200, 403, 403),
            (Door::Health, 404, 404, 404),
            (client(Ok(())), 200, 200, 200),
            (client(Err(Refusal::Forbidden("no".to_owned()))), 403, 403, 403),
            (client(Err(Refusal::Gone("away".to_owned()))), 403, 403, 403),
        ];
        for (number, (door, plain, strange, of_page)) in doors.iter().enumerate() {
            assert_eq!(status(door, "/metrics", &[("Host", "localhost:1")]), *plain, "{number}");
            assert_eq!(status(door, "/metrics", &[("Host", "example.org")]), *strange, "{number}");
            let of_web_page = [("Host", "localhost"), ("Origin", "http://localhost")];
            assert_eq!(status(door, "/metrics", &of_web_page), *of_page, "{number}");
            assert_eq!(status(door, "/livez", &[("Host", "localhost")]), 200, "{number}");
            assert_eq!(status(door, "/livez", &[]), 400, "{number}");
        }
    }

    #[test]
    fn only_a_refusal_for_good_ends_the_connection() {
        for (refusal, then) in [
            (Refusal::Forbidden("no".to_owned()), Then::GoOn),
            (Refusal::Gone("away".to_owned()), Then::Close),
        ] {
            let door = Door::Client(Arc::new(Known(Err(refusal))));
            let (head, ()) = Request::get("/metrics").header("Host", "x").body(()).unwrap().into_parts();
            assert_eq!(page(&door, &head, Body::None).unwrap_err().then, then);
        }
    }

    #[test]
    fn verbose_is_a_word_of_the_query() {
        for (query, is) in [
            ("verbose", true),
            ("verbose=", true),
            ("a=b&verbose=1", true),
            ("verbosely", false),
            ("", false),
        ] {
            assert_eq!(is_verbose(query), is, "{query}");
        }
    }
}
