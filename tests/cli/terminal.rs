//! A run on a terminal: results are text above the bar, and no part of the bar is left at the end.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, setup, setup_with, until};
use crate::cli::provider::{Say, Scripted};

/// No test here runs longer, unless it hangs.
const HUNG: Duration = Duration::from_secs(60);

/// The program on a terminal, which `script` makes.
struct Terminal {
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
    ended: Receiver<()>,
    /// The file that names the device of the terminal.
    device: PathBuf,
}

impl Terminal {
    /// A terminal of 24 lines and 80 columns.
    fn run(harness: &Harness, args: &str) -> Self {
        Self::sized(harness, args, 80)
    }

    fn sized(harness: &Harness, args: &str, columns: u16) -> Self {
        let plain = harness.command(&[]);
        let program = plain.get_program().to_str().unwrap().to_owned();
        let device = harness.path("device");
        let mut command = Command::new("script");
        command
            .args([
                "-qefc",
                &format!("stty rows 24 cols {columns}; tty > device; exec {program} {args}"),
                "/dev/null",
            ])
            .env_clear()
            .env("TERM", "xterm")
            // The emulator of these tests leaves lines as they are when it becomes narrower, as xterm does.
            .env("XTERM_VERSION", "test")
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(plain.get_current_dir().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, columns, 1000)));
        let (end, ended) = channel();
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                shown.lock().unwrap().process(&piece[..length]);
            }
            drop(end);
        });
        Self {
            child,
            screen,
            ended,
            device,
        }
    }

    /// Changes the width of the window.
    fn resize(&self, columns: u16) {
        let device = std::fs::read_to_string(&self.device).unwrap();
        let width = columns.to_string();
        let mut screen = self.screen.lock().unwrap();
        let resized = Command::new("stty")
            .args(["-F", device.trim(), "cols", &width])
            .status();
        assert!(resized.unwrap().success());
        screen.screen_mut().set_size(24, columns);
    }

    /// The text with its colours.
    fn formatted(&self) -> String {
        let screen = self.screen.lock().unwrap();
        String::from_utf8_lossy(&screen.screen().contents_formatted()).into_owned()
    }

    /// The text on the screen.
    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn wait_for(&self, what: &str) {
        let began = Instant::now();
        while !self.text().contains(what) {
            assert!(began.elapsed() < HUNG, "`{what}` never came:\n{}", self.text());
            std::thread::yield_now();
        }
    }

    fn press(&mut self, key: u8) {
        self.child.stdin.as_mut().unwrap().write_all(&[key]).unwrap();
    }

    /// The exit code and the last screen.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        // An error means that the terminal's output was read to its end.
        self.ended.recv_timeout(HUNG).unwrap_or_default();
        (code, self.text())
    }
}

/// Lines that a bar draws.
fn bars(screen: &str) -> Vec<&str> {
    screen
        .lines()
        .filter(|line| line.contains(" running") || line.contains("[="))
        .collect()
}

#[test]
fn results_are_text_and_no_bar_is_left() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    let (code, screen) = Terminal::run(&harness, "run in.jsonl").end();
    assert_eq!(code, Some(0), "{screen}");
    for shown in ["## q1\n", "## q2\n", "run `in.jsonl`: finished; 2 of 2 done"] {
        assert!(
            screen.contains(shown),
            "`{shown}` is not on the screen:\n{screen}"
        );
    }
    assert!(!screen.contains("{\""), "{screen}");
    assert_eq!(bars(&screen), Vec::<&str>::new(), "{screen}");
    let (code, screen) = Terminal::run(&harness, "results").end();
    assert!(code == Some(0) && screen.contains("## q1\n"), "{screen}");
    assert!(!screen.contains("{\""), "{screen}");
}

/// A run of two requests, of which the second waits until the returned end is dropped.
fn two_requests() -> (Harness, Scripted, Sender<()>) {
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let provider = Scripted::start(move |body| {
        // The second answer waits until the run was stopped.
        if body.contains("q2") {
            wait.lock().unwrap().recv().unwrap_or_default();
        }
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: r#"{"choices":[{"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}]}"#
                .to_owned(),
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"q1\",\"tasks\":[\"answer\"]}\n{\"custom_id\":\"b\",\"query\":\"q2\",\"tasks\":[\"answer\"]}\n",
    );
    (harness, provider, go_on)
}

#[test]
fn ctrl_c_leaves_no_bar_behind() {
    let (harness, provider, go_on) = two_requests();
    let mut terminal = Terminal::run(&harness, "run in.jsonl -j 1");
    terminal.wait_for("## a");
    until("the second call is on its way", || provider.bodies().len() == 2);
    terminal.wait_for("1 running");
    terminal.press(3);
    terminal.wait_for("stopping: waiting for 1 call");
    drop(go_on);
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(130), "{screen}");
    assert!(screen.contains("## b"), "{screen}");
    assert!(screen.contains("stopped by a signal; 2 of 2 done"), "{screen}");
    assert_eq!(bars(&screen), Vec::<&str>::new(), "{screen}");
}

#[test]
fn a_panel_follows_the_width_of_its_window_and_leaves_nothing_behind() {
    for (before, after) in [(200, 60), (60, 200)] {
        let (harness, provider, go_on) = two_requests();
        let terminal = Terminal::sized(&harness, "run in.jsonl -j 1", before);
        terminal.wait_for("1 of 2");
        until("the second call is on its way", || provider.bodies().len() == 2);
        terminal.wait_for("1 in flight");
        terminal.resize(after);
        // The route's line has whole words in a wide window only.
        terminal.wait_for(if after == 60 { "2 rpm" } else { "2 requests/min" });
        drop(go_on);
        let (code, screen) = terminal.end();
        assert_eq!(code, Some(0), "{screen}");
        for shown in ["## a", "## b", "2 of 2 done", "next "] {
            assert!(
                screen.contains(shown),
                "`{shown}` from {before} to {after}:\n{screen}"
            );
        }
        assert_eq!(bars(&screen), Vec::<&str>::new(), "{screen}");
        assert!(!screen.contains("in flight"), "{screen}");
    }
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    for (variable, coloured) in [("NOVA3_GRACE", true), ("NO_COLOR", false)] {
        let (harness, _provider, go_on) = two_requests();
        let harness = harness.with(variable, "1s");
        let terminal = Terminal::run(&harness, "run in.jsonl -j 1");
        terminal.wait_for("50%");
        let green = terminal.formatted().contains("\u{1b}[32m");
        assert_eq!(green, coloured, "{variable}: {}", terminal.formatted());
        drop(go_on);
        assert_eq!(terminal.end().0, Some(0));
    }
}

#[test]
fn a_watched_status_fits_its_window_and_stays_whole_at_the_end() {
    let (harness, provider, go_on) = two_requests();
    let mut run = harness
        .command(&["run", "in.jsonl", "-j", "1", "-o", "out.jsonl"])
        .spawn()
        .unwrap();
    until("the second call is on its way", || provider.bodies().len() == 2);
    let terminal = Terminal::sized(&harness, "status --watch", 40);
    terminal.wait_for("run `in.jsonl`");
    terminal.wait_for("left");
    let shown = terminal.text();
    assert!(!shown.contains('…'), "nothing is cut:\n{shown}");
    drop(go_on);
    assert!(run.wait().unwrap().success());
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(screen.matches("run `in.jsonl`").count(), 1, "{screen}");
    assert!(screen.contains("out.jsonl"), "{screen}");
}
