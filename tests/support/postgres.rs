//! A real PostgreSQL for the tests, made by `scripts/test-postgres`; it ends with the process that started it.
//!
//! Deliberately absent: a sleep before the server is used (it accepts connections when its URL is returned), and any
//! way to stop the shared server, which all tests use.
//!
//! Failure behaviour: a failure panics with the message of PostgreSQL or the script.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-postgres");

/// Settings of a server whose commits have to reach the disk. Without them nothing is synced, which is fast and loses
/// no commit either while the machine runs.
pub(crate) const SYNCED: &[&str] = &["fsync=on"];

/// A separate server, which may be crashed and started again. It ends and leaves nothing when this is dropped, and also
/// when this process is killed: its supervisor sees the end of its standard input and stops it.
#[derive(Debug)]
pub(crate) struct Server {
    supervisor: Child,
    folder: PathBuf,
    url: String,
}

impl Server {
    /// Starts a new, empty server; it accepts connections on return. The settings have the form `name=value`.
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
            // Its own process group: a kill of this process's group must not kill the supervisor, which cleans up.
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

    /// Starts a streaming standby of the server on this port, which may be a proxy's. It is asynchronous, which is
    /// PostgreSQL's default. On return it has the present data of the other server.
    pub(crate) fn standby_of(port: u16) -> Self {
        Self::start(&[&format!("standby_of={port}")])
    }

    /// Promotes the standby to a primary; it takes writes on return.
    pub(crate) fn promote(&self) {
        answer("promote", self.folder.as_os_str(), "");
    }

    /// The URL of its database `postgres`, for a superuser.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The port of 127.0.0.1 that it listens on, the same after every start.
    pub(crate) fn port(&self) -> u16 {
        let (_, after) = self.url.rsplit_once(':').expect("a port");
        let (port, _) = after.split_once('/').expect("a database");
        port.parse().expect("a port")
    }

    /// The folder with its data and its log.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends it as a crash would: sessions are cut, no clean-up is done. Committed data stays.
    pub(crate) fn stop_immediately(&self) {
        answer("halt", self.folder.as_os_str(), "");
    }

    /// Starts it after `stop_immediately`, on the same port; it accepts connections on return.
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

/// Returns the URL of a server that all tests share: the one that `NOVA3_TEST_POSTGRES` names, otherwise one that this
/// process starts. Each test uses a schema or database of its own.
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

/// Creates a schema in the database of the URL and returns a URL that uses it. It is cheaper than a database.
pub(crate) fn fresh_schema(url: &str) -> String {
    let name = unused_name();
    psql(url, &format!("create schema {name}"));
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-csearch_path%3D{name}")
}

/// Creates a database on the server of the URL and returns its URL.
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

/// A name that other processes do not use either, not even earlier runs on the same server.
fn unused_name() -> String {
    format!("test_{:016x}", fastrand::u64(..))
}

/// Returns the server's answer to the SQL: a line for each row, `|` between columns. Each statement is committed by
/// itself.
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
    // A script that has failed already does not read; its message is more useful than a broken pipe.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("its end")
}
