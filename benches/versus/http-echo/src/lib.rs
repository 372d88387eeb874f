//! Answers an HTTP request with its query: the counterpart of Lictor's `echo`, with as few host calls as HTTP
//! allows.
//!
//! The query and not the body, since reading a body takes several more calls: `wasmtime serve` is shown at
//! its best.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Echo;

wasip2::http::proxy::export!(Echo);

impl Guest for Echo {
    fn handle(request: IncomingRequest, reply: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let text = target.split_once('?').map_or("", |(_, query)| query);
        let headers = Fields::new();
        // Otherwise the reply would be sent in chunks, which is more work for both ends. A failure of these
        // calls shows at the client, as missing text.
        let _ = headers.append("content-length", text.len().to_string().as_bytes());
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(reply, Ok(response));
        let Ok(stream) = body.write() else { return };
        let _ = stream.blocking_write_and_flush(text.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
