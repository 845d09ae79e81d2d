#![doc = include_str!("../ARCHITECTURE.md")]
// scripts/test turns the warning into an error. A crate that only tests use has to be a development dependency.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

// `main.rs` sets the allocator.
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
pub mod search;
pub mod sink;
pub mod store;
pub mod trace;
