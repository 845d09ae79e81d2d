//! A real PostgreSQL for the tests, made by `scripts/test-postgres` and gone with the process that asked for it.
//!
//! Deliberately absent: a sleep before the server is used (it accepts connections when it is told of), and any way to
//! stop the shared server, which is everyone's.
//!
//! Failure behaviour: what does not work panics with what PostgreSQL or the script said.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-postgres");

/// Settings of a server whose commits have to reach the disk. Without them nothing is synced, which is quick and loses
/// no commit either as long as the machine lives.
pub(crate) const SYNCED: &[&str] = &["fsync=on"];

/// A server of one's own, which may be crashed and started again. It ends and leaves nothing when this is dropped, and
/// also when this process is killed: it is then stopped by its supervisor, which sees the end of its standard input.
#[derive(Debug)]
pub(crate) struct Server {
    supervisor: Child,
    folder: PathBuf,
    url: String,
}

impl Server {
    /// A new, empty server that accepts connections. The settings have the form `name=value`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nova3-postgres-")
            .tempdir()
            .expect("a folder")
            .keep();
        let mut supervisor = Command::new(SCRIPT)
            .arg("serve")
            .arg(&folder)
            .args(settings)
            // Its own group: what is killed together with this process must not take the one that cleans up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("scripts/test-postgres runs");
        let mut url = String::new();
        let stdout = supervisor.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut url).expect("a line");
        if url.is_empty() {
            let mut said = String::new();
            let mut stderr = supervisor.stderr.take().expect("a pipe");
            stderr.read_to_string(&mut said).expect("a message");
            assert!(!url.is_empty(), "failed to start PostgreSQL: {said}");
        }
        Self {
            supervisor,
            folder,
            url: url.trim_end().to_owned(),
        }
    }

    /// A streaming standby of the server on that port, which may be a proxy's; asynchronous, as PostgreSQL is unless told
    /// otherwise. It has what the other one had when this returns.
    pub(crate) fn standby_of(port: u16) -> Self {
        Self::start(&[&format!("standby_of={port}")])
    }

    /// The standby becomes a server of its own; it takes writes when this returns.
    pub(crate) fn promote(&self) {
        answer("promote", self.folder.as_os_str(), "");
    }

    /// Its database `postgres`, for a user that may do everything.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The port of 127.0.0.1 that it listens on, the same after every start.
    pub(crate) fn port(&self) -> u16 {
        let (_, after) = self.url.rsplit_once(':').expect("a port");
        let (port, _) = after.split_once('/').expect("a database");
        port.parse().expect("a port")
    }

    /// Where its data and its log are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends it as a crash would: sessions are cut, nothing is tidied. What was committed stays.
    pub(crate) fn stop_immediately(&self) {
        answer("halt", self.folder.as_os_str(), "");
    }

    /// Starts it after `stop_immediately`, on the same port; it accepts connections when this returns.
    pub(crate) fn start_again(&self) {
        answer("start", self.folder.as_os_str(), "");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes the supervisor's standard input first.
        drop(self.supervisor.wait());
    }
}

/// The URL of a server that all tests use together; no two tests should use the same schema or database of it. It is the
/// one that `NOVA3_TEST_POSTGRES` names, else this process starts one.
#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
pub(crate) fn shared() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    static SERVER: OnceLock<Server> = OnceLock::new();
    URL.get_or_init(|| match std::env::var("NOVA3_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => url,
        _ => SERVER.get_or_init(|| Server::start(&[])).url().to_owned(),
    })
}

/// A new schema of the database that the URL names, as a URL with which everything happens in it. Cheaper than a database.
pub(crate) fn fresh_schema(url: &str) -> String {
    let name = unused_name();
    psql(url, &format!("create schema {name}"));
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-csearch_path%3D{name}")
}

/// A new database of the server that the URL names, as its URL.
pub(crate) fn fresh_database(url: &str) -> String {
    let name = unused_name();
    psql(url, &format!("create database {name}"));
    let (place, options) = match url.split_once('?') {
        Some((place, options)) => (place, format!("?{options}")),
        None => (url, String::new()),
    };
    let (server, _) = place.rsplit_once('/').expect("a database in the URL");
    format!("{server}/{name}{options}")
}

/// Unused by other processes too, also by those of earlier runs on the same server.
fn unused_name() -> String {
    format!("test_{:016x}", fastrand::u64(..))
}

/// What the server answers to the SQL: a line for each row, `|` between columns. Each statement is committed by itself.
pub(crate) fn psql(url: &str, sql: &str) -> String {
    answer("psql", url.as_ref(), sql)
}

fn answer(what: &str, of: &std::ffi::OsStr, input: &str) -> String {
    let output = script(what, of, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "failed to {what} {}: {said}",
        of.display()
    );
    let answer = String::from_utf8(output.stdout).expect("UTF-8");
    answer.trim_end_matches('\n').to_owned()
}

fn script(what: &str, of: &std::ffi::OsStr, input: &str) -> Output {
    let mut child = Command::new(SCRIPT)
        .arg(what)
        .arg(of)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/test-postgres runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that has failed already does not read; its message says more than a broken pipe.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("its end")
}
