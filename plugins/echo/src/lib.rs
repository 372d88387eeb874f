//! `echo`, the smallest useful plugin: echoes its arguments, or its body if it has none.

use lictor_plugin::prelude::*;

#[plugin]
mod commands {
    /// echoes its arguments, or the request's body if it has none
    #[command(idempotent)]
    fn echo(text: &[String]) -> Vec<u8> {
        if text.is_empty() { request::body() } else { text.join(" ").into_bytes() }
    }
}
