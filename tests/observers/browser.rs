//! A headless Chromium, driven over W3C `WebDriver`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The flags of a browser that reaches no other host. They work for root too.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with one window. It ends with this value.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    client: reqwest::Client,
    runtime: Runtime,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with an empty profile.
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts (scripts/test-observers installs it)");
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said
            .find_map(|line| {
                let line = line.ok()?;
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver names its port");
        // The pipe is read on, so that the driver never waits for it.
        std::thread::spawn(move || said.for_each(drop));
        let profile = TempDir::new().unwrap();
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            client: client(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            _profile: profile,
        };
        let made = browser.post(
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                "goog:chromeOptions": {"args": flags},
            }}}),
        );
        let id = made["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self.client.post(url).body(body.to_string());
        let answer = self
            .runtime
            .block_on(async { request.send().await.unwrap().bytes().await.unwrap() });
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = &answer["value"];
        assert!(value.get("error").is_none(), "{path}: {value}");
        value.clone()
    }

    /// Opens a file in a window of this size.
    pub(crate) fn open(&self, file: &Path, width: u32) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        self.post("/url", &json!({"url": format!("file://{}", file.display())}));
    }

    /// Sends a command of the `DevTools` protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    /// Runs a script in the page, and returns the value that it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs a script until it returns true.
    pub(crate) fn until(&self, script: &str) {
        crate::support::process::until(script, || (self.run(script) == true).then_some(()));
    }

    /// The messages of the browser's console so far.
    pub(crate) fn console(&self) -> Vec<String> {
        self.log("browser")
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    /// The addresses that the page asked for so far, without its own file.
    pub(crate) fn requests(&self) -> Vec<String> {
        let events = self.log("performance");
        let events = events.iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let sent = event["message"]["method"] == "Network.requestWillBeSent";
            let of = &event["message"]["params"];
            // The browser itself opens an empty tab before the page.
            let of_page = of["documentURL"].as_str()?.starts_with("file:");
            let url = of["request"]["url"].as_str()?.to_owned();
            (sent && of_page && !url.starts_with("file:")).then_some(url)
        });
        events.collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.post("/se/log", &json!({"type": kind}));
        log.as_array().unwrap().clone()
    }
}

fn client() -> reqwest::Client {
    // Another test of this process may have installed it.
    rustls::crypto::ring::default_provider().install_default().ok();
    // A driver is on this machine, whatever proxy the environment names.
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_mins(2))
        .build()
        .unwrap()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let closing = self.client.delete(&self.session);
        self.runtime.block_on(async { closing.send().await.ok() });
        self.driver.kill().unwrap_or_default();
        self.driver.wait().ok();
    }
}
