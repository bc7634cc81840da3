#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octconv_fuzz::octave(data));
