//! One request through plain `wasi:http`, so that nothing is corrected before the host sees it.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::exports::lictor::plugin::commands::Failure;
use crate::failure;

/// A request before it is sent.
pub struct Request {
    request: OutgoingRequest,
    options: RequestOptions,
    body: String,
}

/// A request in progress.
pub struct Begun(FutureIncomingResponse);

/// A response whose body may not be read yet.
pub struct Response {
    pub status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    rest: Option<(IncomingResponse, IncomingBody)>,
}

impl Request {
    /// Parses a method, a URL, and any of `body=`, `header=NAME:VALUE`, `connect-ms=`, `first-byte-ms=`,
    /// `between-bytes-ms=`.
    pub fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let [method, url, more @ ..] = arguments else { return Err(failure("no method and URL")) };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| failure("no scheme"))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (headers, options, mut body) = (Fields::new(), RequestOptions::new(), String::new());
        for part in more {
            let (key, value) = part.split_once('=').ok_or_else(|| failure("no key"))?;
            let millis = || value.parse::<u64>().map(|millis| Some(millis * 1_000_000)).unwrap_or_default();
            match key {
                "body" => body = value.to_owned(),
                "header" => {
                    let (name, value) = value.split_once(':').ok_or_else(|| failure("no value"))?;
                    headers.append(name, value.as_bytes()).map_err(|error| failure(&format!("{error:?}")))?;
                }
                "connect-ms" => taken(options.set_connect_timeout(millis()))?,
                "first-byte-ms" => taken(options.set_first_byte_timeout(millis()))?,
                "between-bytes-ms" => taken(options.set_between_bytes_timeout(millis()))?,
                _ => return Err(failure("no such key")),
            }
        }
        let request = OutgoingRequest::new(headers);
        taken(request.set_method(&Self::method(method)))?;
        taken(request.set_scheme(Some(&Self::scheme(scheme))))?;
        taken(request.set_authority(Some(authority)))?;
        taken(request.set_path_with_query(Some(path)))?;
        Ok(Self { request, options, body })
    }

    fn method(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "CONNECT" => Method::Connect,
            other => Method::Other(other.to_owned()),
        }
    }

    fn scheme(name: &str) -> Scheme {
        match name {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.to_owned()),
        }
    }

    /// Sends the request with its body.
    pub fn begin(self) -> Result<Begun, Failure> {
        let Self { request, options, body } = self;
        let outgoing = if body.is_empty() { None } else { Some(body_of(&request)?) };
        let begun = send(request, options)?;
        if let Some(outgoing) = outgoing {
            let stream = outgoing.write().map_err(|()| failure("no stream"))?;
            for piece in body.as_bytes().chunks(4096) {
                stream.blocking_write_and_flush(piece).map_err(|error| told(&error))?;
            }
            drop(stream);
            OutgoingBody::finish(outgoing, None).map_err(|error| failure(&format!("{error:?}")))?;
        }
        Ok(Begun(begun))
    }

    /// Sends an endless body, until told to stop.
    pub fn flood(self) -> Result<String, Failure> {
        let outgoing = body_of(&self.request)?;
        let _begun = send(self.request, self.options)?;
        let stream: OutputStream = outgoing.write().map_err(|()| failure("no stream"))?;
        loop {
            if let Err(error) = stream.blocking_write_and_flush(&[b'x'; 4096]) {
                return Err(told(&error));
            }
        }
    }
}

fn body_of(request: &OutgoingRequest) -> Result<OutgoingBody, Failure> {
    request.body().map_err(|()| failure("no body"))
}

fn send(request: OutgoingRequest, options: RequestOptions) -> Result<FutureIncomingResponse, Failure> {
    outgoing_handler::handle(request, Some(options)).map_err(|error| failure(&format!("at once: {error:?}")))
}

impl Begun {
    /// Waits for the response.
    pub fn response(self) -> Result<Response, Failure> {
        self.0.subscribe().block();
        let response = self.0.get().and_then(Result::ok).ok_or_else(|| failure("no answer"))?;
        let response = response.map_err(|error| failure(&format!("{error:?}")))?;
        let body = response.consume().map_err(|()| failure("no body"))?;
        let (status, headers) = (response.status(), response.headers().entries());
        Ok(Response { status, headers, body: Vec::new(), rest: Some((response, body)) })
    }
}

impl Response {
    /// Reads the body.
    pub fn whole(mut self) -> Result<Self, Failure> {
        let mut body = Vec::new();
        self.read(|piece| body.extend_from_slice(piece))?;
        self.body = body;
        Ok(self)
    }

    /// Counts the bytes of the body.
    pub fn count(mut self) -> Result<usize, Failure> {
        let mut count = 0;
        self.read(|piece| count += piece.len())?;
        Ok(count)
    }

    fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
        let Some((_response, body)) = self.rest.take() else { return Ok(()) };
        let stream: InputStream = body.stream().map_err(|()| failure("no stream"))?;
        loop {
            stream.subscribe().block();
            match stream.read(64 << 10) {
                Ok(piece) => take(&piece),
                Err(StreamError::Closed) => return Ok(()),
                Err(error) => return Err(told(&error)),
            }
        }
    }

    /// Returns the value of the header `name`.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// Shows status, header and body, each on separate lines.
    pub fn shown(&self) -> Vec<u8> {
        let fields =
            self.headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
        let head = format!("{}\n{}", self.status, fields.collect::<String>());
        [head.as_bytes(), b"\n", &self.body].concat()
    }
}

/// Makes requests with filled bodies and never sends them; returns their number when the host refuses more.
pub fn hoard(count: usize) -> Result<usize, Failure> {
    let mut kept = Vec::new();
    for _ in 0..count {
        let request = OutgoingRequest::new(Fields::new());
        let body = body_of(&request)?;
        let stream = body.write().map_err(|()| failure("no stream"))?;
        stream.blocking_write_and_flush(&[b'x'; 4096]).map_err(|error| told(&error))?;
        kept.push((stream, body, request));
    }
    Ok(kept.len())
}

/// Makes requests with a method and a path, even if the host refuses these, and keeps them with those of
/// earlier calls; returns the number kept.
pub fn hoard_heads(
    kept: &mut Vec<OutgoingRequest>,
    count: usize,
    method: &Method,
    path: &str,
) -> Result<Vec<u8>, Failure> {
    for _ in 0..count {
        let request = OutgoingRequest::new(Fields::new());
        let _ = request.set_method(method);
        let _ = request.set_path_with_query(Some(path));
        kept.push(request);
    }
    Ok(kept.len().to_string().into_bytes())
}

/// Makes filled headers; returns their number when the host refuses more.
pub fn hoard_fields(count: usize) -> Result<usize, Failure> {
    let mut kept = Vec::new();
    for _ in 0..count {
        let fields = Fields::new();
        fields.append("name", &[b'x'; 16_000]).map_err(|error| failure(&format!("{error:?}")))?;
        kept.push(fields);
    }
    Ok(kept.len())
}

fn taken(result: Result<(), ()>) -> Result<(), Failure> {
    result.map_err(|()| failure("not taken"))
}

fn told(error: &StreamError) -> Failure {
    match error {
        StreamError::Closed => failure("the stream is closed"),
        StreamError::LastOperationFailed(error) => failure(&error.to_debug_string()),
    }
}
