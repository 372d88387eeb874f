//! The wire protocol at the edge: `wire` behind tokio-util's codec traits.

use std::io;

use bytes::BytesMut;
use tokio_util::codec;

use crate::wire::{CommandError, Decoder, Fault, Phase, Request, Sent, Sequence, encode_reply};

/// Requests out of a connection's bytes, and replies into them.
#[derive(Debug)]
pub(super) struct Codec {
    decoder: Decoder,
}

/// Why no further request can be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection failed.
    Io(io::Error),
    /// The bytes are no request.
    Fault(Fault),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Codec {
    pub(super) fn new(max_body_bytes: usize) -> Self {
        Self { decoder: Decoder::new(max_body_bytes) }
    }

    /// Takes bodies of at most so many bytes from the next request on.
    pub(super) fn set_max_body_bytes(&mut self, max: usize) {
        self.decoder.set_max_body_bytes(max);
    }

    /// Where in a request the stream stands.
    pub(super) fn phase(&self) -> Phase {
        self.decoder.phase()
    }
}

impl codec::Decoder for Codec {
    type Item = Request;
    type Error = ReadError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, ReadError> {
        self.decoder.decode(input).map_err(ReadError::Fault)
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Request>, ReadError> {
        if let Some(request) = self.decode(input)? {
            return Ok(Some(request));
        }
        match self.phase() {
            Phase::Idle => Ok(None),
            Phase::Head => Err(ReadError::Fault(Fault::Truncated("head"))),
            Phase::Body => Err(ReadError::Fault(Fault::Truncated("body"))),
        }
    }
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    pub(super) sequence: Option<&'a Sequence>,
    pub(super) answer: Result<&'a [u8], &'a CommandError>,
}

impl Reply<'_> {
    /// Appends the reply; tells whether it could be sent as it is.
    pub(super) fn encode(&self, out: &mut BytesMut) -> Sent {
        encode_reply(self.sequence, self.answer, out)
    }
}

impl codec::Encoder<Reply<'_>> for Codec {
    type Error = io::Error;

    fn encode(&mut self, reply: Reply<'_>, out: &mut BytesMut) -> io::Result<()> {
        reply.encode(out);
        Ok(())
    }
}
