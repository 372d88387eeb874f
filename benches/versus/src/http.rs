//! HTTP/1.1 on a persistent connection, limited to the replies of `wasmtime serve`: those with a
//! `Content-Length`.

use lictor::loadgen::{Dialect, Reply};

/// A request whose query is echoed, the same in each slot; answered in order.
pub struct Http {
    request: Vec<u8>,
}

impl Http {
    /// Asks for `text`, of letters and digits.
    pub fn new(text: &str) -> Self {
        Self { request: format!("GET /?{text} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes() }
    }
}

impl Dialect for Http {
    fn greeting(&self, _: &[u8]) -> Result<Option<usize>, String> {
        Ok(Some(0))
    }

    fn requests(&self, in_flight: usize) -> Result<Vec<Vec<u8>>, String> {
        Ok(vec![self.request.clone(); in_flight])
    }

    fn reply(&self, received: &[u8]) -> Result<Option<Reply>, String> {
        let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&received[..end]).map_err(|_| "a head that is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or_default();
        let size = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let size = size.ok_or_else(|| format!("a reply without its length: {head:?}"))?;
        let length = end + b"\r\n\r\n".len() + size;
        if received.len() < length {
            return Ok(None);
        }
        let failure = (!status.starts_with("200")).then(|| status.to_owned());
        Ok(Some(Reply { failure, ..Reply::in_order(length) }))
    }
}

#[cfg(test)]
mod tests {
    use lictor::loadgen::Dialect;

    use super::Http;

    #[test]
    fn replies_of_http_end_where_they_end() {
        let http = Http::new("hello");
        for (bytes, failure) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: x\r\n\r\nhello"[..], None),
            (b"HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n", None),
            (b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n\r\n", Some("500 No")),
        ] {
            for end in 0..bytes.len() {
                assert!(http.reply(&bytes[..end]).unwrap().is_none(), "{end} bytes of {bytes:?}");
            }
            let reply = http.reply(&[bytes, b"HTTP"].concat()).unwrap().unwrap();
            assert_eq!((reply.length, reply.failure.as_deref()), (bytes.len(), failure));
        }
        assert!(http.reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
