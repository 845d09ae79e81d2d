//! Tests searches over real HTTP: the links of a chain fail in all known ways, and the outcome is checked.
//!
//! | file | subject |
//! |---|---|
//! | `links` | the failures of a link, and the next link |
//! | `guards` | retries, pauses, breaker, latch, limits |
//! | `cached` | fresh and stale answers, default material |
//! | `together` | equal searches at the same moment |
//! | `keys` | a key is sent only in its header or parameter and only to its host |
//! | `redirects` | the redirects that are followed |
//! | `hostile` | hostile answers |
//! | `pages` | the texts of pages, and the readers |
//! | `files` | mistakes in provider files |
//! | `presets` | the built-in providers |
//!
//! Each test starts its own servers on free ports. No test sleeps. The times in the settings are milliseconds.

#![expect(clippy::unwrap_used, reason = "a test fails at the first error")]

mod cached;
mod files;
mod guards;
mod harness;
mod hostile;
mod keys;
mod links;
mod pages;
mod presets;
mod redirects;
mod server;
mod together;
