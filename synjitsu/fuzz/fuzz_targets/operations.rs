//! `cargo fuzz run operations`; see ../README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| synjitsu_fuzz::operations::run(input));
