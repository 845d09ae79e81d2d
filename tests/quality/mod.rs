//! Measures the checks of finished texts on labelled sentences, and keeps the figures of `docs/quality.md`.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that cannot read its sentences has to stop"
)]

mod grounding;
mod tokens;
