#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spillway::queue::fuzzing::files(bytes));
