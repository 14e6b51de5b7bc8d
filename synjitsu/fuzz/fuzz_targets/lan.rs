//! `cargo fuzz run lan`; see ../README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| synjitsu_fuzz::lan::run(input));
