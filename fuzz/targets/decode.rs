//! A client's bytes, in every way of splitting them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::decode(bytes));
