//! The protocol of Redis, limited to the answers used here: one line, a number or one text.

use lictor::loadgen::{Dialect, Reply};

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

#[cfg(test)]
mod tests {
    use lictor::loadgen::Dialect;

    use super::Resp;

    #[test]
    fn a_request_is_a_list_of_texts() {
        let requests = Resp::new(&["ECHO", "hello"]).requests(2).unwrap();
        assert_eq!(requests, [b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n"; 2]);
    }

    #[test]
    fn replies_of_redis_end_where_they_end() {
        let resp = Resp::new(&["PING"]);
        for (bytes, failure) in [
            (&b"+OK\r\n"[..], None),
            (b":12\r\n", None),
            (b"$5\r\nhe\r\no\r\n", None),
            (b"$0\r\n\r\n", None),
            (b"$-1\r\n", Some("there is nothing under the key")),
            (b"-ERR unknown\r\n", Some("ERR unknown")),
        ] {
            for end in 0..bytes.len() {
                assert!(resp.reply(&bytes[..end]).unwrap().is_none(), "{end} bytes of {bytes:?}");
            }
            let reply = resp.reply(&[bytes, b"+more"].concat()).unwrap().unwrap();
            assert_eq!((reply.length, reply.failure.as_deref()), (bytes.len(), failure));
        }
        assert!(resp.reply(b"HTTP/1.1 400\r\n").is_err());
    }
}
