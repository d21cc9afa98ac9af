#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spillway::upstream::grpc::fuzzing::answers(bytes));
