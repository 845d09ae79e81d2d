//! Tests of the servers and networks that other tests use: servers start, crash, restart and leave nothing; networks
//! hold and cut.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::postgres::{SYNCED, Server, fresh_database, fresh_schema, psql, shared};
use super::process::{self, deadline};
use super::proxy::{Network, Proxy};

/// How long a test watches that something does not happen. A shorter time would only find fewer faults.
const QUIET: Duration = Duration::from_millis(200);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    process::until(what, || is_so().then_some(()));
}

fn refuses(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[test]
fn the_shared_server_answers() {
    assert_eq!(psql(shared(), "select 1, 'ä'; select current_user"), "1|ä\nnova3");
    assert_eq!(shared(), shared());
}

#[test]
fn schemas_and_databases_are_of_one_test_each() {
    let places = [
        fresh_schema(shared()),
        fresh_schema(shared()),
        fresh_database(shared()),
        fresh_schema(&fresh_database(shared())),
    ];
    for place in &places {
        psql(place, "create table marks (of text)");
        psql(place, &format!("insert into marks values ('{place}')"));
    }
    for place in &places {
        assert_eq!(&psql(place, "select of from marks"), place);
    }
}

#[test]
#[should_panic(expected = "division by zero")]
fn what_postgresql_refuses_fails_the_test() {
    psql(shared(), "select 1/0");
}

#[test]
fn a_crash_keeps_what_was_committed_and_nothing_else() {
    let server = Server::start(&[]);
    let url = fresh_schema(server.url());
    psql(
        &url,
        "create table kept (n int); insert into kept values (1); begin; insert into kept values (2)",
    );
    server.stop_immediately();
    assert!(refuses(server.port()), "it is still there");
    server.start_again();
    assert_eq!(psql(&url, "select n from kept"), "1");
}

#[test]
fn a_crash_cuts_sessions() {
    let server = Server::start(&[]);
    let mut session = Session::open(server.url());
    assert_eq!(session.ask("select 1"), "1");
    server.stop_immediately();
    session.say("select 2");
    assert!(session.fails(), "its session survived");
}

#[test]
fn settings_are_the_servers() {
    let show = |server: &Server| psql(server.url(), "show fsync; show max_connections");
    assert_eq!(show(&Server::start(&[])), "off\n200");
    let settings = [SYNCED, &["max_connections=7"]].concat();
    assert_eq!(show(&Server::start(&settings)), "on\n7");
}

#[test]
#[should_panic(expected = "no_such_setting")]
fn a_server_that_does_not_start_says_why() {
    Server::start(&["no_such_setting=1"]);
}

#[test]
fn a_server_goes_with_its_value() {
    let server = Server::start(&[]);
    let (port, folder) = (server.port(), server.folder().to_owned());
    assert!(folder.exists() && !refuses(port));
    drop(server);
    assert!(refuses(port) && !folder.exists(), "something is left");
}

/// The owner is killed with its whole group, as test runners do.
#[test]
fn a_server_goes_with_its_owner() {
    let mut owner = Command::new(std::env::current_exe().expect("this program"))
        .args(["support::servers::owner", "--exact", "--ignored", "--nocapture"])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("an owner");
    let output = BufReader::new(owner.stdout.take().expect("a pipe"));
    let told = output
        .lines()
        .map(|line| line.expect("a line"))
        .find_map(|line| line.strip_prefix("owner of ").map(str::to_owned))
        .expect("a server");
    let (port, folder) = told.split_once(' ').expect("a port and a folder");
    let (port, folder) = (port.parse().expect("a port"), Path::new(folder));
    assert!(folder.exists() && !refuses(port));
    let group = i32::try_from(owner.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("it is there");
    owner.wait().expect("its end");
    until("the end of the server", || refuses(port));
    until("the end of its folder", || !folder.exists());
}

#[test]
#[ignore = "the process that `a_server_goes_with_its_owner` kills"]
fn owner() {
    let server = Server::start(&[]);
    println!("\nowner of {} {}", server.port(), server.folder().display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_dead_network_holds_and_brings_it_late() {
    let server = Server::start(&[]);
    psql(server.url(), "create table late (n int)");
    let proxy = Proxy::to(server.port());
    let mut session = Session::open(&proxy.url(server.url()));
    assert_eq!(session.ask("select 'alive'"), "alive");
    proxy.set(Network::Dead);
    session.say("insert into late values (1) returning n");
    assert_eq!(session.hears_within(QUIET), None, "it is not dead");
    assert_eq!(psql(server.url(), "select count(*) from late"), "0");
    proxy.set(Network::Alive);
    assert_eq!(session.hears_within(deadline()).as_deref(), Some("1"));
}

#[test]
fn who_comes_to_a_dead_network_waits() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_nonblocking(true).unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap().port());
    proxy.set(Network::Dead);
    let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    until("its connection", || proxy.accepted() == 1);
    let begin = Instant::now();
    while begin.elapsed() < QUIET {
        assert!(server.accept().is_err(), "it is not dead");
        std::thread::sleep(Duration::from_millis(1));
    }
    proxy.set(Network::Alive);
    until("its arrival", || server.accept().is_ok());
}

#[test]
fn without_answers_a_commit_happens_all_the_same() {
    let server = Server::start(&[]);
    psql(server.url(), "create table unknown (n int)");
    let proxy = Proxy::to(server.port());
    let mut session = Session::open(&proxy.url(server.url()));
    assert_eq!(session.ask("select 'alive'"), "alive");
    proxy.set(Network::NoAnswers);
    session.say("insert into unknown values (1) returning n");
    until("the commit", || {
        psql(server.url(), "select n from unknown") == "1"
    });
    assert_eq!(session.hears_within(QUIET), None, "an answer came through");
    proxy.reset_all();
    assert!(session.fails(), "its connection was not cut");
    assert_eq!(psql(server.url(), "select n from unknown"), "1");
}

#[test]
fn without_requests_nothing_happens() {
    let server = Server::start(&[]);
    psql(server.url(), "create table never (n int)");
    let proxy = Proxy::to(server.port());
    let mut session = Session::open(&proxy.url(server.url()));
    assert_eq!(session.ask("select 'alive'"), "alive");
    proxy.set(Network::NoRequests);
    session.say("insert into never values (1) returning n");
    assert_eq!(session.hears_within(QUIET), None, "a request came through");
    assert_eq!(psql(server.url(), "select count(*) from never"), "0");
    // Answers pass, so the server can end the session and the client sees it.
    psql(
        server.url(),
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'",
    );
    assert!(session.fails(), "it did not hear the end");
}

#[test]
fn a_reset_takes_all_and_only_what_was_there() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port());
    let url = proxy.url(server.url());
    let mut old = [Session::open(&url), Session::open(&url)];
    for session in &mut old {
        assert_eq!(session.ask("select 1"), "1");
    }
    assert_eq!((proxy.accepted(), proxy.open()), (2, 2));
    proxy.set(Network::Dead);
    proxy.reset_all();
    assert_eq!(proxy.open(), 0);
    proxy.set(Network::Alive);
    for session in &mut old {
        session.say("select 2");
        assert!(session.fails(), "its connection was not cut");
    }
    assert_eq!(psql(&url, "select 3"), "3");
    assert_eq!(proxy.accepted(), 3);
    until("its end", || proxy.open() == 0);
}

/// A psql that stays connected.
struct Session {
    child: Child,
    says: ChildStdin,
    hears: mpsc::Receiver<String>,
}

impl Session {
    fn open(url: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-postgres");
        let mut child = Command::new(script)
            .args(["psql", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql");
        let says = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (heard, hears) = mpsc::channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| heard.send(line))
        });
        Self { child, says, hears }
    }

    fn say(&mut self, sql: &str) {
        // A session that was cut off may have ended.
        drop(writeln!(self.says, "{sql};"));
    }

    fn hears_within(&self, limit: Duration) -> Option<String> {
        self.hears.recv_timeout(limit).ok()
    }

    fn ask(&mut self, sql: &str) -> String {
        self.say(sql);
        self.hears_within(deadline()).expect("an answer")
    }

    /// Whether it ends with a failure.
    fn fails(&mut self) -> bool {
        let mut ended = None;
        until("the end of psql", || {
            ended = self.child.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        ended.is_some_and(|status| !status.success())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
