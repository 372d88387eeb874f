//! A permission pattern in a config file, and a client's arguments.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::pattern(bytes));
