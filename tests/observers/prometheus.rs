//! A real Prometheus scrapes a run with a dead route, a real Alertmanager gets the alert, and each expression of the
//! dashboard returns data.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::files::{panels, read};
use crate::cli::harness::Running;
use crate::cli::metrics::{EventfulRun, exchange};
use crate::support::process::until_within;

/// The longest wait for a program on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Prometheus and Alertmanager, which are killed when the test ends.
struct Observers {
    _folder: TempDir,
    _processes: [Running; 2],
    prometheus: SocketAddr,
    alertmanager: SocketAddr,
}

/// An address that nothing listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The rules with one second as the duration of each `for`.
fn shortened(rules: &str) -> String {
    let line = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    };
    rules.lines().map(line).collect()
}

fn start(folder: &Path, program: &str, args: &[String]) -> Running {
    let log = std::fs::File::create(folder.join(format!("{program}.log"))).unwrap();
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Running::start(command)
}

impl Observers {
    /// Starts both with the files of `deploy/prometheus`. The addresses and times of the test replace those of the files.
    fn of(target: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let (prometheus, alertmanager) = (free(), free());
        let settings = read("deploy/prometheus/prometheus.yml")
            .replace("interval: 15s", "interval: 1s")
            .replace("localhost:9464", &target.to_string())
            .replace("localhost:9093", &alertmanager.to_string());
        for (name, text) in [
            ("prometheus.yml", settings),
            ("rules.yml", shortened(&read("deploy/prometheus/rules.yml"))),
            ("alertmanager.yml", read("deploy/prometheus/alertmanager.yml")),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let flags = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
        let listen = |address: SocketAddr| format!("--web.listen-address={address}");
        let mut of_alertmanager = flags(&[
            "--config.file=alertmanager.yml",
            "--storage.path=alerts",
            "--cluster.listen-address=",
        ]);
        of_alertmanager.push(listen(alertmanager));
        let mut of_prometheus = flags(&["--config.file=prometheus.yml", "--storage.tsdb.path=series"]);
        of_prometheus.push(listen(prometheus));
        let processes = [
            start(folder.path(), "prometheus-alertmanager", &of_alertmanager),
            start(folder.path(), "prometheus", &of_prometheus),
        ];
        Self {
            _folder: folder,
            _processes: processes,
            prometheus,
            alertmanager,
        }
    }

    /// The alerts that Alertmanager has.
    fn alerts(&self) -> Option<Vec<Value>> {
        json(self.alertmanager, "/api/v2/alerts")?.as_array().cloned()
    }

    /// The series that an expression returns, by Prometheus's own answer.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = json(self.prometheus, &path).ok_or("no answer")?;
        let series = answer["data"]["result"].as_array().cloned();
        series
            .filter(|_| answer["status"] == "success")
            .ok_or_else(|| answer.to_string())
    }
}

fn json(address: SocketAddr, path: &str) -> Option<Value> {
    let answer = exchange(address, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

/// Whether a series has a number as its value.
fn has_number(series: &Value) -> bool {
    let value = series["value"][1]
        .as_str()
        .and_then(|value| value.parse::<f64>().ok());
    value.is_some_and(f64::is_finite)
}

#[test]
#[ignore = "needs Prometheus and Alertmanager (scripts/test-observers)"]
fn a_dead_route_raises_its_alert_and_every_panel_has_data() {
    let run = EventfulRun::endless();
    let observers = Observers::of(run.address());
    let is_ours = |alert: &Value| {
        let (labels, state) = (&alert["labels"], &alert["status"]["state"]);
        labels["alertname"] == "Nova3RouteLatched" && labels["route"] == "dead" && state == "active"
    };
    let alert = until_within(PATIENCE, "the alert in Alertmanager", || {
        observers.alerts()?.into_iter().find(|alert| is_ours(alert))
    });
    assert_eq!(
        alert["annotations"]["summary"], "Route dead is dead for this run",
        "{alert}"
    );
    for (title, expression) in panels() {
        let expression = expression
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s");
        until_within(PATIENCE, &format!("data of `{title}`: {expression}"), || {
            let series = observers.query(&expression).unwrap_or_default();
            series.iter().any(has_number).then_some(())
        });
    }
    let rules = json(observers.prometheus, "/api/v1/rules").unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(rules.len() > 10, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

#[test]
#[ignore = "needs Prometheus and Alertmanager (scripts/test-observers)"]
fn the_files_are_valid_for_the_programs_that_read_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for (program, args) in [
        ("promtool", &["check", "rules", "rules.yml"][..]),
        ("promtool", &["check", "config", "prometheus.yml"]),
        ("amtool", &["check-config", "alertmanager.yml"]),
    ] {
        let checked = Command::new(program)
            .args(args)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{program} {args:?}: {checked:?}");
    }
    let mut lint = Command::new("promtool");
    lint.args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut lint = lint.spawn().unwrap();
    let text = crate::cli::metrics::eventful_run();
    std::io::Write::write_all(&mut lint.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let linted = lint.wait_with_output().unwrap();
    assert!(linted.status.success() && linted.stderr.is_empty(), "{linted:?}");
}
