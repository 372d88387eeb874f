//! `echo`, the smallest useful plugin: answers with its arguments, or with its body if it has none.

use lictor_plugin::prelude::*;

#[plugin]
mod commands {
    /// answers with its arguments, or with the request's body if it has none
    #[command(idempotent)]
    fn echo(text: &[String]) -> Vec<u8> {
        if text.is_empty() { request::body() } else { text.join(" ").into_bytes() }
    }
}
