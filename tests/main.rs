//! Every test of the program and of the library's public parts, in one binary: it links the library once.
//!
//! | suite | what it tests |
//! |---|---|
//! | `cli` | the program as its users meet it |
//! | `crash` | kills, stops and faults at random moments, on one host |
//! | `chaos` | all faults at once, on one host |
//! | `cluster` | all faults at once, many processes on one PostgreSQL |
//! | `fleet` | many workers and a broken database, on PostgreSQL |
//! | `store` | the laws of the store's ports, on every engine |
//! | `limit` | the laws of a limiter, on every engine |
//! | `search` | searches, against scripted search servers |
//! | `fuzz` | any bytes, for the decoder, the line reader, the result file and the fences |
//! | `wire` | what model servers send |
//! | `mock` | the mock server |
//! | `observers` | the files for Prometheus and Grafana; real observers and the report in a browser by `scripts/test-observers` |
//! | `deploy` | the files in `deploy/` and the forge's workflows |
//! | `dependencies` | what `deny.toml` says of the crates |
//! | `house` | documents, floors of the source, the list of laws |
//! | `quality` | the quality of the checks of texts, on labelled sentences |
//! | `words` | plain sentences, one name for one thing |
//!
//! `support` has what the suites share: processes, the mock, its log, PostgreSQL, a proxy, verdicts. Each suite has a
//! `mod.rs` that says what it tests, and a `harness.rs` with what its tests stand on.

mod chaos;
mod cli;
mod cluster;
mod crash;
mod dependencies;
mod deploy;
mod fleet;
mod fuzz;
mod house;
mod limit;
mod mock;
mod observers;
mod quality;
mod search;
mod store;
mod support;
mod wire;
mod words;
