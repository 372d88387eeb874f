//! A stranger's certificate.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::certificate(bytes));
