//! Fuzz targets: properties that hold for any bytes, checked on mutated inputs for a budget of time.
//!
//! Each target is a function `check` that panics when its input breaks a property. [`campaign`] replays the corpus,
//! then mutates it for `NOVA3_FUZZ_SECONDS` (10 unless set; 0 replays the corpus only). `scripts/fuzz` runs one target
//! for longer; `scripts/fuzz --coverage` runs the same `check` under libFuzzer, from the package in `libfuzzer/`.
//!
//! A failing input is shortened and written to `target/tmp/fuzz/`. After the fix it moves to `corpus/<target>/` under a
//! name that tells the fault, and every later run replays it.

mod campaign;
mod decoder;
mod fences;
mod input;
mod line_reader;
mod mutation;
mod result_file;
