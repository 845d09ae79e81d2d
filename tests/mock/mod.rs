//! The mock server over real sockets: the shape of its answers, its faults, and its log.

#![expect(clippy::expect_used, reason = "a test that cannot set up has failed")]

mod answers;
mod evidence;
mod faults;
mod harness;
mod messages;
mod rehearsal;
mod search;
