#![doc = include_str!("../ARCHITECTURE.md")]
// scripts/test turns the warning into an error: a crate that only tests use belongs to the development dependencies.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

// The allocator is chosen in `main.rs`.
use tikv_jemallocator as _;

#[macro_use]
mod failpoint;

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod limit;
pub mod llm;
pub mod mock;
pub mod observe;
pub mod postgres;
pub mod report;
pub mod sink;
pub mod store;
