//! A client's bytes, split in every way.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::decode(bytes));
