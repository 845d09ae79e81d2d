//! The target that this binary is named after, as libFuzzer calls it.

#![no_main]

#[path = "../decoder.rs"]
mod decoder;
#[path = "../fences.rs"]
mod fences;
#[path = "../input.rs"]
mod input;
#[path = "../line_reader.rs"]
mod line_reader;
#[path = "../result_file/mod.rs"]
mod result_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let check = match env!("CARGO_BIN_NAME") {
        "decoder" => decoder::check,
        "line_reader" => line_reader::check,
        "result_file" => result_file::check,
        "fences" => fences::check,
        other => unreachable!("there is no target `{other}`"),
    };
    let _ = check(bytes);
});
