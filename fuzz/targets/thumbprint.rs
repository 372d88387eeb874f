//! A thumbprint in a config file or on a command line.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lictor::harness::thumbprint(bytes));
