//! `cargo fuzz run master`; see ../README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| summoner_fuzz::master::run(input));
