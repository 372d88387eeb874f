//! A plugin that sends HTTP requests, and tries forbidden ones.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:web;
        world web {
            include lictor:plugin/plugin@0.1.0;
            import lictor:plugin/http@0.1.0;
        }
    ",
    generate_all,
});

mod request;

use std::cell::RefCell;

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use lictor::plugin::http;
use request::{Begun, Request, Response};
use wasip2::http::types::{Method, OutgoingRequest};

struct Web;

export!(Web);

thread_local! {
    /// Responses that are kept between calls.
    static KEPT: RefCell<Vec<Response>> = const { RefCell::new(Vec::new()) };
    /// Requests that are never sent.
    static HEADS: RefCell<Vec<OutgoingRequest>> = const { RefCell::new(Vec::new()) };
}

impl Guest for Web {
    /// Sends a request too, if the host allows it.
    fn describe() -> Vec<CommandInfo> {
        let sent = Request::parse(&["GET", "http://127.0.0.1:9/describe"]).and_then(Request::begin);
        let summary = sent.map_or_else(|failure| failure.message, |_| "sent".to_owned());
        vec![CommandInfo {
            name: "fetch".into(),
            summary,
            usage: "fetch METHOD URL".into(),
            idempotent: false,
        }]
    }

    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
        match &arguments[..] {
            ["fetch", request @ ..] => Ok(Request::parse(request)?.begin()?.response()?.whole()?.shown()),
            ["whole", method, url, more @ ..] => whole(method, url, more),
            ["follow", url] => follow(url),
            ["at-once", count, url] => at_once(number(count)?, url),
            ["body-size", request @ ..] => {
                let size = Request::parse(request)?.begin()?.response()?.count()?;
                Ok(size.to_string().into_bytes())
            }
            ["ignore-body-error", url] => {
                let _ = Request::parse(&["GET", url])?.begin()?.response()?.count();
                Ok(b"all is well".to_vec())
            }
            ["flood", url] => Request::parse(&["POST", url])?.flood().map(String::into_bytes),
            ["keep", url] => {
                let response = Request::parse(&["GET", url])?.begin()?.response()?;
                KEPT.with_borrow_mut(|kept| kept.push(response));
                Ok(Vec::new())
            }
            ["kept"] => {
                let response = KEPT.with_borrow_mut(Vec::pop).ok_or_else(|| failure("nothing is kept"))?;
                Ok(response.whole()?.shown())
            }
            ["hoard-bodies", count] => {
                request::hoard(number(count)?).map(|made| made.to_string().into_bytes())
            }
            ["hoard-methods", count, bytes] => {
                let method = Method::Other("M".repeat(number(bytes)?));
                HEADS.with_borrow_mut(|kept| request::hoard_heads(kept, number(count)?, &method, "/"))
            }
            ["hoard-paths", count, bytes] => {
                let path = format!("/{}", "p".repeat(number(bytes)?));
                HEADS.with_borrow_mut(|kept| request::hoard_heads(kept, number(count)?, &Method::Get, &path))
            }
            ["hoard-fields", count] => {
                request::hoard_fields(number(count)?).map(|made| made.to_string().into_bytes())
            }
            _ => Err(Failure { code: "bad-arguments".into(), message: String::new() }),
        }
    }
}

/// Sends a request through `lictor:plugin/http`, with any of `body=`, `header=NAME:VALUE`, `timeout-ms=`.
fn whole(method: &str, url: &str, more: &[&str]) -> Result<Vec<u8>, Failure> {
    let (mut headers, mut body, mut timeout_ms) = (Vec::new(), Vec::new(), None);
    for part in more {
        match part.split_once('=') {
            Some(("body", value)) => body = value.as_bytes().to_vec(),
            Some(("header", field)) => {
                let (name, value) = field.split_once(':').unwrap_or((field, ""));
                headers.push((name.to_owned(), value.to_owned()));
            }
            Some(("timeout-ms", value)) => timeout_ms = value.parse().ok(),
            _ => return Err(failure("no such key")),
        }
    }
    let request = http::Request { method: method.to_owned(), url: url.to_owned(), headers, body, timeout_ms };
    let answer = http::send(&request)?;
    let fields = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let head = format!("{}\n{}\n", answer.status, fields.collect::<String>());
    Ok([head.as_bytes(), &answer.body].concat())
}

/// Follows redirects as a client does, and returns the status of each answer.
fn follow(url: &str) -> Result<Vec<u8>, Failure> {
    let mut url = url.to_owned();
    let mut path = Vec::new();
    loop {
        let response = match Request::parse(&["GET", &url])?.begin().and_then(Begun::response) {
            Ok(response) => response,
            Err(failure) => {
                path.push(failure.message);
                break;
            }
        };
        path.push(response.status.to_string());
        match response.header("location") {
            Some(location) => url = location,
            None => break,
        }
    }
    Ok(path.join(" ").into_bytes())
}

/// Sends several requests before it waits for the first.
fn at_once(count: usize, url: &str) -> Result<Vec<u8>, Failure> {
    let begun: Result<Vec<Begun>, Failure> =
        (0..count).map(|_| Request::parse(&["GET", url])?.begin()).collect();
    let answers: Result<Vec<Response>, Failure> =
        begun?.into_iter().map(|begun| begun.response()?.whole()).collect();
    Ok(answers?.len().to_string().into_bytes())
}

fn number(text: &str) -> Result<usize, Failure> {
    text.parse().map_err(|_| failure("no number"))
}

fn failure(message: &str) -> Failure {
    Failure { code: "failed".into(), message: message.into() }
}
