//! Bytes to requests, however the bytes are split.

use bytes::{Buf, Bytes, BytesMut};

use super::fault::Fault;
use super::head::{Head, HeadParser};
use super::request::Request;

/// Growth of the read buffer at a time for a body. A client that announces a large body and sends nothing
/// makes the server reserve no more than this.
const BODY_CHUNK_BYTES: usize = 64 * 1024;

/// Position of the byte stream within a request; deadlines depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two requests.
    Idle,
    /// Within a head.
    Head,
    /// Within a body.
    Body,
}

/// Decodes a connection's bytes into requests.
///
/// Holds one head (parsed, at most 8192 bytes) and no body: those bytes stay in the caller's buffer, which
/// never needs to hold more than one head or one body of the largest size, plus the excess of one read.
#[derive(Debug)]
pub struct Decoder {
    max_body_bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadParser),
    Body {
        request: Request,
        size: usize,
    },
    /// The body of a request that was taken out without it: `left` bytes are still to be dropped.
    Refused {
        left: usize,
    },
    /// The framing was broken; nothing more can be decoded.
    Faulty(Fault),
}

impl Decoder {
    /// A decoder that accepts bodies of at most `max_body_bytes` bytes.
    #[must_use]
    pub fn new(max_body_bytes: usize) -> Self {
        Self { max_body_bytes, state: State::Head(HeadParser::default()) }
    }

    /// Limits bodies to `max_body_bytes` bytes from the next request on.
    pub fn set_max_body_bytes(&mut self, max_body_bytes: usize) {
        self.max_body_bytes = max_body_bytes;
    }

    /// Takes the next request off the front of `input`; `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// The first fault in the order of the bytes. Every later call returns it again.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fault> {
        let decoded = self.step(input);
        if let Err(fault) = &decoded {
            self.state = State::Faulty(fault.clone());
        }
        decoded
    }

    /// Position of the stream after the last call of [`Self::decode`].
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Head(head) if head.is_begun() => Phase::Head,
            State::Head(_) | State::Faulty(_) => Phase::Idle,
            State::Body { .. } | State::Refused { .. } => Phase::Body,
        }
    }

    /// Takes out a request whose body is incomplete, without the body: drops the received part from `input`,
    /// which must be as the last call of [`Self::decode`] left it, and later the rest as it arrives. `None`
    /// if there is no such request.
    pub fn refuse_body(&mut self, input: &mut BytesMut) -> Option<Request> {
        let left = match &self.state {
            State::Body { size, .. } => size.checked_sub(input.len()).filter(|left| *left > 0)?,
            State::Head(_) | State::Refused { .. } | State::Faulty(_) => return None,
        };
        *input = BytesMut::new();
        match std::mem::replace(&mut self.state, State::Refused { left }) {
            State::Body { request, .. } => Some(request),
            State::Head(_) | State::Refused { .. } | State::Faulty(_) => None,
        }
    }

    fn step(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fault> {
        if let State::Refused { left } = &mut self.state {
            let dropped = input.len().min(*left);
            input.advance(dropped);
            *left -= dropped;
            if *left > 0 {
                return Ok(None);
            }
            self.state = State::Head(HeadParser::default());
        }
        if let State::Head(parser) = &mut self.state {
            let Some(head) = parser.advance(input)? else { return Ok(None) };
            let Head { request, size, length } = head;
            input.advance(length);
            if size == 0 {
                return Ok(Some(request));
            }
            let size = self.accepted_size(size, &request)?;
            self.state = State::Body { request, size };
        }
        self.take_body(input)
    }

    fn accepted_size(&self, size: u64, request: &Request) -> Result<usize, Fault> {
        let max = self.max_body_bytes;
        match usize::try_from(size) {
            Ok(size) if size <= max => Ok(size),
            _ => Err(Fault::TooLarge { size, max, sequence: request.sequence().cloned() }),
        }
    }

    fn take_body(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fault> {
        match &self.state {
            State::Head(_) | State::Refused { .. } => return Ok(None),
            State::Faulty(fault) => return Err(fault.clone()),
            State::Body { size, .. } if input.len() < *size => {
                input.reserve((*size - input.len()).min(BODY_CHUNK_BYTES));
                return Ok(None);
            }
            State::Body { .. } => {}
        }
        let whole = std::mem::replace(&mut self.state, State::Head(HeadParser::default()));
        let State::Body { mut request, size } = whole else { return Ok(None) };
        // Copied: a slice would keep the whole read buffer alive, which an earlier body may have made large.
        request.0.body = Bytes::copy_from_slice(&input[..size]);
        input.advance(size);
        Ok(Some(request))
    }
}
