//! The protocol of Redis, limited to the answers used here: one line, a number or one text.

use lictor::load::{Dialect, Reply};

/// A command with its arguments, the same in each slot; answered in order.
pub struct Resp {
    request: Vec<u8>,
}

impl Resp {
    pub fn new(arguments: &[&str]) -> Self {
        let mut request = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            request.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
        }
        Self { request: request.into_bytes() }
    }
}

impl Dialect for Resp {
    fn greeting(&self, _: &[u8]) -> Result<Option<usize>, String> {
        Ok(Some(0))
    }

    fn requests(&self, in_flight: usize) -> Result<Vec<Vec<u8>>, String> {
        Ok(vec![self.request.clone(); in_flight])
    }

    fn reply(&self, received: &[u8]) -> Result<Option<Reply>, String> {
        let Some(end) = memchr::memchr(b'\n', received) else { return Ok(None) };
        let line = received[..end].trim_ascii_end();
        let (kind, rest) = line.split_first().ok_or("Redis answered with an empty line")?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let reply = |length, failure| Ok(Some(Reply { failure, ..Reply::in_order(length) }));
        match kind {
            b'+' | b':' => reply(end + 1, None),
            b'-' => reply(end + 1, Some(text())),
            b'$' if rest == b"-1" => reply(end + 1, Some("there is nothing under the key".into())),
            b'$' => {
                let size = text().parse::<usize>().map_err(|_| format!("Redis answered {:?}", text()))?;
                let length = end + 1 + size + b"\r\n".len();
                if received.len() < length { Ok(None) } else { reply(length, None) }
            }
            _ => Err(format!("Redis answered {:?}", String::from_utf8_lossy(line))),
        }
    }
}
