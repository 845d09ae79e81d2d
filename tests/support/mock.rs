//! The real mock server in a process of its own, and its log.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::evidence::{Call, Log};
use super::process::until;

/// A running mock server; it ends with the test.
#[derive(Debug)]
pub(crate) struct Mock {
    child: Child,
    pub(crate) address: String,
    pub(crate) log: Log,
}

impl Mock {
    /// Starts it on a free port with its log in `folder`.
    pub(crate) fn start(folder: &Path, name: &str, args: &[impl AsRef<OsStr>]) -> Self {
        Self::listen("127.0.0.1:0", folder, name, args)
    }

    /// Starts it on this address.
    pub(crate) fn listen(address: &str, folder: &Path, name: &str, args: &[impl AsRef<OsStr>]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_nova3"))
            .args(["mock", "--listen", address, "--log"])
            .arg(&log)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mock starts");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut url)
            .expect("the mock says its address");
        let address = url.trim().trim_start_matches("http://").split('/').next();
        let address = address.expect("an address").to_owned();
        assert!(!address.is_empty(), "the mock did not start");
        Self {
            child,
            address,
            log: Log::new(&log),
        }
    }

    /// The base URL of a route to it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The number of calls that have come in.
    pub(crate) fn count(&self) -> usize {
        let calls = self.stats()["calls"].as_u64().expect("calls are counted");
        usize::try_from(calls).expect("few calls")
    }

    /// Returns the calls, once the mock is idle.
    pub(crate) fn calls(&mut self) -> Vec<Call> {
        self.rest();
        self.log.every_call()
    }

    /// Reads its counters.
    fn stats(&self) -> Value {
        let address = &self.address;
        let mut stream = TcpStream::connect(address).expect("the mock listens");
        let ask = format!("GET /mock/stats HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).expect("the mock reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the mock answers");
        let body = text.split_once("\r\n\r\n").expect("an answer has a body").1;
        serde_json::from_str(body).expect("the mock counts in JSON")
    }

    /// Reads its log, once no client is connected and every call is logged with its end: the last bytes of a killed
    /// process may arrive after the kill.
    pub(crate) fn rest(&mut self) {
        until("the mock to come to rest", || {
            let stats = self.stats();
            // The connection of this request is one of them.
            if stats["connections"]["now"] != 1 {
                return None;
            }
            self.log.read_on();
            let written = self.log.whole() && Some(self.log.count() as u64) == stats["calls"].as_u64();
            written.then_some(())
        });
    }

    /// `kill -9`: calls in progress never get an end.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        self.log.read_on();
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
