//! A command's answer, as it is sent.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::reply(bytes));
