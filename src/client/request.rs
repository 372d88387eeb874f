//! A request's bytes: the line of arguments, the headers, the body.
//!
//! Any text can be an argument: texts that the line cannot carry unchanged are quoted. Requests that the
//! server would refuse for their form are refused here, before that costs the connection. Knows no sockets.

use std::fmt::Write;
use std::time::Duration;

/// Maximum bytes of a head that a server accepts.
pub(super) const MAX_HEAD_BYTES: usize = 8192;

/// Maximum arguments and custom headers that a server accepts. The idempotency key counts as a header.
const MAX_ARGUMENTS: usize = 1024;
const MAX_HEADERS: usize = 128;

/// Headers defined by the protocol; each has its own method here.
const PROTOCOL_HEADERS: [&str; 4] = ["Sequence", "Size", "Timeout-Ms", "Idempotency-Key"];

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    line: String,
    headers: String,
    sequence: Option<u64>,
    timeout: Option<Duration>,
    idempotency_key: Option<String>,
    body: Vec<u8>,
}

/// A request that every server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first argument is empty.
    #[error("the name of the command is empty; a line begins with it, with no space before it")]
    EmptyCommand,
    /// The line of arguments has a control character.
    #[error(
        "the line has a control character at position {0}; \
         in a quoted argument write it as \\r, \\n, \\t or \\xHH"
    )]
    Control(usize),
    /// The name of a header is no token.
    #[error("{0:?} is no name of a header; use letters, digits and -")]
    HeaderName(String),
    /// The value of a header has a control character.
    #[error("the value of the header {0} has a control character")]
    HeaderValue(String),
    /// An invalid idempotency key.
    #[error("{0:?} is no Idempotency-Key; it has 1 to 64 visible ASCII characters, and no space")]
    IdempotencyKey(String),
    /// A header defined by the protocol.
    #[error("the header {0} is the protocol's own")]
    ProtocolHeader(String),
    /// More arguments than a server accepts.
    #[error("there are {0} arguments; at most {MAX_ARGUMENTS} can be sent, so put many of them in the body")]
    TooManyArguments(usize),
    /// More headers than a server accepts.
    #[error("there are {0} headers; at most {MAX_HEADERS} can be sent, so put many of them in the body")]
    TooManyHeaders(usize),
    /// Arguments and headers exceed the maximum size of a head.
    #[error(
        "the arguments and headers take {0} bytes; at most {MAX_HEAD_BYTES} can be sent, \
         so put what is long in the body"
    )]
    TooLong(usize),
}

impl Request {
    /// Builds a request from arguments, the command's name first.
    ///
    /// # Errors
    /// If there is no first argument, it is empty, or there are too many.
    pub fn from_arguments<A: AsRef<str>>(arguments: &[A]) -> Result<Self, RequestError> {
        if arguments.first().is_none_or(|command| command.as_ref().is_empty()) {
            return Err(RequestError::EmptyCommand);
        }
        if arguments.len() > MAX_ARGUMENTS {
            return Err(RequestError::TooManyArguments(arguments.len()));
        }
        let mut line = String::new();
        for (position, argument) in arguments.iter().enumerate() {
            if position > 0 {
                line.push(' ');
            }
            push_argument(&mut line, argument.as_ref());
        }
        Ok(Self::of(line))
    }

    /// Builds a request from the line of arguments, with quotes where needed.
    ///
    /// # Errors
    /// If the line is empty, begins with a space or contains a control character.
    pub fn from_line(line: &str) -> Result<Self, RequestError> {
        if line.is_empty() || line.starts_with(' ') {
            return Err(RequestError::EmptyCommand);
        }
        if let Some(position) = line.chars().position(is_control) {
            return Err(RequestError::Control(position + 1));
        }
        Ok(Self::of(line.to_owned()))
    }

    fn of(line: String) -> Self {
        let (sequence, timeout, idempotency_key) = (None, None, None);
        Self { line, headers: String::new(), sequence, timeout, idempotency_key, body: Vec::new() }
    }

    /// The command, as written in the line.
    #[must_use]
    pub fn command(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// Adds a header for the command. Trims spaces around the value, as the server would.
    ///
    /// # Errors
    /// If the name is no token or belongs to the protocol, or the value has a control character.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, RequestError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(RequestError::HeaderName(name.to_owned()));
        }
        if PROTOCOL_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(RequestError::ProtocolHeader(name.to_owned()));
        }
        if value.contains(is_control) {
            return Err(RequestError::HeaderValue(name.to_owned()));
        }
        push_header(&mut self.headers, name, value.trim_matches(' '));
        Ok(self)
    }

    /// Requests a framed reply with this number, which no other request in flight may have.
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// Asks the server to stop the command after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the server run the request once, however often it is sent with this key.
    ///
    /// # Errors
    /// If every server would refuse the key.
    pub fn idempotency_key(mut self, key: &str) -> Result<Self, RequestError> {
        if !(1..=64).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RequestError::IdempotencyKey(key.to_owned()));
        }
        self.idempotency_key = Some(key.to_owned());
        Ok(self)
    }

    /// Adds a body.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Encodes the request.
    ///
    /// # Errors
    /// If the head is too long, or has too many headers.
    pub fn encode(&self) -> Result<Vec<u8>, RequestError> {
        let headers = self.headers.lines().count() + usize::from(self.idempotency_key.is_some());
        if headers > MAX_HEADERS {
            return Err(RequestError::TooManyHeaders(headers));
        }
        let mut head = format!("{}\r\n{}", self.line, self.headers);
        if let Some(sequence) = self.sequence {
            push_header(&mut head, "Sequence", sequence);
        }
        if let Some(timeout) = self.timeout {
            // Rounded up: less than a millisecond must not become zero, which has already expired.
            push_header(
                &mut head,
                "Timeout-Ms",
                timeout.as_nanos().div_ceil(1_000_000).clamp(1, u64::MAX.into()),
            );
        }
        if let Some(key) = &self.idempotency_key {
            push_header(&mut head, "Idempotency-Key", key);
        }
        if !self.body.is_empty() {
            push_header(&mut head, "Size", self.body.len());
        }
        head.push_str("\r\n");
        if head.len() > MAX_HEAD_BYTES {
            return Err(RequestError::TooLong(head.len()));
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

fn push_header(head: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(head, "{name}: {value}\r\n");
}

/// Writes an argument bare if the server then reads the same text, and quoted otherwise.
fn push_argument(line: &mut String, argument: &str) {
    let is_bare = !argument.is_empty()
        && !argument.starts_with('"')
        && !argument.contains(|character| character == ' ' || is_control(character));
    if is_bare {
        line.push_str(argument);
        return;
    }
    line.push('"');
    for character in argument.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\r' => line.push_str("\\r"),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            control if is_control(control) => drop(write!(line, "\\x{:02x}", u32::from(control))),
            other => line.push(other),
        }
    }
    line.push('"');
}

/// Bytes forbidden in a head. C1 controls are two bytes in UTF-8, neither of which is a control.
fn is_control(character: char) -> bool {
    character.is_ascii_control()
}

/// A `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(arguments: &[&str]) -> String {
        String::from_utf8(Request::from_arguments(arguments).unwrap().encode().unwrap()).unwrap()
    }

    #[test]
    fn arguments_are_quoted_only_where_they_must_be() {
        for (arguments, line) in [
            (&["echo", "hello"][..], "echo hello"),
            (&["echo", ""], "echo \"\""),
            (&["echo", "a b"], "echo \"a b\""),
            (&["echo", "\"x"], "echo \"\\\"x\""),
            (&["echo", "x\"y\\z", "--flag"], "echo x\"y\\z --flag"),
            (&["echo", "é ü\\"], "echo \"é ü\\\\\""),
            (&["echo", "\r\n\t\0\u{7f}\u{85}"], "echo \"\\r\\n\\t\\x00\\x7f\u{85}\""),
        ] {
            assert_eq!(encoded(arguments), format!("{line}\r\n\r\n"));
        }
    }

    #[test]
    fn a_whole_request_has_its_headers_and_body() {
        let request = Request::from_line("put \"a b\"").unwrap();
        let request = request.header("Colour", " red ").unwrap().sequence(7);
        let request = request.timeout(Duration::from_micros(1500)).body(b"\0\xff".to_vec());
        let request = request.idempotency_key("k-1").unwrap();
        let head = b"put \"a b\"\r\nColour: red\r\nSequence: 7\r\nTimeout-Ms: 2\r\nIdempotency-Key: k-1\r\nSize: 2\r\n\r\n";
        assert_eq!(request.encode().unwrap(), [&head[..], b"\0\xff"].concat());
    }

    #[test]
    fn what_a_server_would_refuse_is_refused_here() {
        assert_eq!(Request::from_arguments::<&str>(&[]), Err(RequestError::EmptyCommand));
        assert_eq!(Request::from_arguments(&["", "x"]), Err(RequestError::EmptyCommand));
        assert_eq!(Request::from_line(" x"), Err(RequestError::EmptyCommand));
        assert_eq!(Request::from_line("a\tb"), Err(RequestError::Control(2)));
        let request = Request::from_line("x").unwrap();
        for (name, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a:", "v"),
            ("sequence", "1"),
            ("SIZE", "1"),
            ("idempotency-key", "k"),
            ("a", "b\r\nc: d"),
        ] {
            assert!(request.clone().header(name, value).is_err(), "{name}");
        }
        for key in ["", "a b", "é", "a\n", &"k".repeat(65)] {
            assert!(request.clone().idempotency_key(key).is_err(), "{key}");
        }
        let longest = Request::from_line(&"x".repeat(MAX_HEAD_BYTES - 4)).unwrap();
        assert_eq!(longest.encode().unwrap().len(), MAX_HEAD_BYTES);
        assert_eq!(longest.sequence(1).encode(), Err(RequestError::TooLong(MAX_HEAD_BYTES + 13)));
        let arguments = ["x"; MAX_ARGUMENTS + 1];
        assert!(Request::from_arguments(&arguments[1..]).is_ok());
        assert_eq!(
            Request::from_arguments(&arguments),
            Err(RequestError::TooManyArguments(MAX_ARGUMENTS + 1))
        );
        let request = Request::from_line("x").unwrap();
        let full = (0..MAX_HEADERS).fold(request, |request, _| request.header("A", "").unwrap()).sequence(1);
        assert!(full.encode().is_ok());
        let beyond = full.idempotency_key("k").unwrap().encode();
        assert_eq!(beyond, Err(RequestError::TooManyHeaders(MAX_HEADERS + 1)));
    }

    /// Parses a line of arguments by the protocol's description, to check the written one.
    fn read_arguments(line: &str) -> Vec<String> {
        let (mut arguments, mut rest) = (Vec::new(), Some(line));
        while let Some(text) = rest {
            let Some(quoted) = text.strip_prefix('"') else {
                let (argument, behind) = text.split_once(' ').map_or((text, None), |(a, b)| (a, Some(b)));
                arguments.push(argument.to_owned());
                rest = behind;
                continue;
            };
            let (mut bytes, mut input) = (Vec::new(), quoted.bytes());
            loop {
                match input.next().unwrap() {
                    b'"' => break,
                    b'\\' => bytes.push(match input.next().unwrap() {
                        b'r' => b'\r',
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'x' => {
                            let digits = [input.next().unwrap(), input.next().unwrap()];
                            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                        }
                        other => other,
                    }),
                    other => bytes.push(other),
                }
            }
            arguments.push(String::from_utf8(bytes).unwrap());
            let behind = &quoted[quoted.len() - input.len()..];
            rest = if behind.is_empty() { None } else { Some(behind.strip_prefix(' ').unwrap()) };
        }
        arguments
    }

    proptest! {
        #[test]
        fn any_text_comes_through_as_an_argument(
            command in "[a-z@\" \\\\\n]{1,5}",
            arguments in proptest::collection::vec("(?s)[ \"\\\\\r\n\t\0a-c]{0,6}|(?s).{0,8}", 0..5),
        ) {
            let mut all = vec![command];
            all.extend(arguments);
            let bytes = Request::from_arguments(&all).unwrap().encode().unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            let line = text.strip_suffix("\r\n\r\n").unwrap();
            prop_assert!(!line.contains(|c: char| c.is_ascii_control()));
            prop_assert_eq!(read_arguments(line), all);
        }
    }
}
