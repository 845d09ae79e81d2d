//! The real mock server in a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::evidence::{self, Call};
use super::process::until;

/// A running mock server; it ends with the test.
#[derive(Debug)]
pub(crate) struct Mock {
    child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Mock {
    /// Starts it on a free port with its log in `folder`.
    pub(crate) fn start(folder: &Path, name: &str, args: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_nova3"))
            .args(["mock", "--listen", "127.0.0.1:0", "--log"])
            .arg(&log)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mock starts");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut url)
            .expect("the mock says its address");
        Self {
            child,
            url: url.trim().to_owned(),
            log,
        }
    }

    /// Where it writes down its calls.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What it counts.
    fn stats(&self) -> Value {
        let address = self
            .url
            .trim_start_matches("http://")
            .split('/')
            .next()
            .expect("an address");
        let mut stream = TcpStream::connect(address).expect("the mock listens");
        let ask = format!("GET /mock/stats HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).expect("the mock reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the mock answers");
        let body = text.split_once("\r\n\r\n").expect("an answer has a body").1;
        serde_json::from_str(body).expect("the mock counts in JSON")
    }

    /// Calls that have come in.
    pub(crate) fn count(&self) -> usize {
        let calls = self.stats()["calls"].as_u64().expect("calls are counted");
        usize::try_from(calls).expect("few calls")
    }

    /// The calls, once nobody is connected any more and every call is written down with its end.
    pub(crate) fn calls(&self) -> Vec<Call> {
        until("the mock to come to rest", || {
            let stats = self.stats();
            // The connection that asks is one of them.
            if stats["connections"]["now"] != 1 {
                return None;
            }
            let calls = evidence::read(&self.log);
            let whole = calls.iter().all(|call| call.end_ms.is_some());
            (whole && Some(calls.len() as u64) == stats["calls"].as_u64()).then_some(calls)
        })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
