//! `nohup`: a run that ignores hangups survives the end of its terminal.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::cli::harness::{Running, setup, sorted_ids, until};
use crate::cli::provider::{Say, Scripted};

#[test]
fn a_hangup_that_is_ignored_at_the_start_stays_ignored() {
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let provider = Scripted::start(move |_| {
        // The answer waits until the hangup was sent.
        wait.lock().unwrap().recv().unwrap_or_default();
        let body =
            r#"{"choices":[{"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}]}"#;
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: body.to_owned(),
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 3);
    let plain = harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"]);
    let mut ignoring = Command::new("bash");
    ignoring
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(plain.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut run = Running::start(ignoring);
    until("a call is on its way", || provider.bodies().len() == 1);
    run.signal(rustix::process::Signal::HUP);
    drop(go_on);
    let ran = harness.ran(&run.output());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(sorted_ids(&harness.results("out.jsonl")), ["q1", "q2", "q3"]);
}
