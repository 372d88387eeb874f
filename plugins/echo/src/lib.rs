//! `echo`, the smallest useful plugin: it answers with its arguments, or with its body if it has none.

#![no_std]

extern crate alloc;

mod bare;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

wit_bindgen::generate!({ path: "../../wit", world: "plugin" });

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use lictor::plugin::request;

struct Echo;

export!(Echo);

impl Guest for Echo {
    fn describe() -> Vec<CommandInfo> {
        vec![CommandInfo {
            name: "echo".into(),
            summary: "answers with its arguments, or with the request's body if it has none".into(),
            usage: "echo [TEXT]...".into(),
            idempotent: true,
        }]
    }

    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        match args.get(1..) {
            None | Some([]) => Ok(request::body()),
            Some(words) => Ok(words.join(" ").into_bytes()),
        }
    }
}
