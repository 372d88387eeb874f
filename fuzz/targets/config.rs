//! A config file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::config(bytes));
