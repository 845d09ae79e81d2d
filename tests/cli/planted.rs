//! Keys in every place that can hold one, and every failure that could show one.

use crate::cli::echo::{Echo, WAYS};
use crate::cli::harness::{Harness, Ran, Running, setup, until};

/// A part of every planted key. It occurs nowhere else.
const MARK: &str = "PLANTED";
/// A text that may be shown. It proves that the search finds a text if it is there.
const VISIBLE: &str = "VISIBLE";

/// A usual key, a key of a local server, a key with characters that end a word, and a key in the address.
const FROM_ENV: &str = "sk-proj-PLANTEDenv0123456789abcdefABCDEF";
const FROM_OTHER: &str = "my.PLANTED.other";
const FROM_FILE: &str = "ab=PLANTED:file!key%22";
const IN_QUERY: &str = "PLANTEDquery";

/// The sources of a route's key.
const SOURCES: [(&str, &str, &str); 3] = [
    ("env", "api_key_env = \"OPENAI_API_KEY\"\n", FROM_ENV),
    ("other", "api_key_env = \"OTHER_KEY\"\n", FROM_OTHER),
    ("file", "api_key_file = \"the.key\"\n", FROM_FILE),
];

fn planted(base_url: &str, key: &str) -> Harness {
    let harness = setup()
        .with("OPENAI_API_KEY", FROM_ENV)
        .with("OTHER_KEY", FROM_OTHER);
    harness.write("the.key", format!("{FROM_FILE}\n"));
    harness.write(
        "nova3.toml",
        format!(
            "[retry]\nretries = 1\nbase = \"1ms\"\nlongest = \"2ms\"\n[timeouts]\nidle = \"50ms\"\n\
             [routes.a]\nbase_url = \"{base_url}?api-key={IN_QUERY}\"\nmodel = \"m\"\n{key}"
        ),
    );
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"q1\",\"query\":\"VISIBLE\",\"tasks\":[\"answer\"]}\n",
    );
    harness.write(
        "batch.jsonl",
        "{\"custom_id\":\"b1\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\
         \"messages\":[{\"role\":\"user\",\"content\":\"VISIBLE\"}]}}\n",
    );
    harness
}

/// The places with these letters: the printed text, and the raw bytes of every file that the program made.
fn places(harness: &Harness, letters: &str, said: &[&Ran]) -> Vec<String> {
    let has = |bytes: &[u8]| {
        bytes
            .windows(letters.len())
            .any(|part| part == letters.as_bytes())
    };
    let mut found = Vec::new();
    for ran in said {
        for (name, text) in [("stdout", &ran.out), ("stderr", &ran.err)] {
            if has(text.as_bytes()) {
                found.push(format!("{name}: {text}"));
            }
        }
    }
    for entry in std::fs::read_dir(harness.path("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let ours = ["the.key", "nova3.toml", "in.jsonl", "batch.jsonl"].contains(&name.as_str());
        if !ours && path.is_file() && has(&std::fs::read(&path).unwrap()) {
            found.push(name);
        }
    }
    found
}

fn nowhere(harness: &Harness, what: &str, said: &[&Ran]) {
    // At most the first characters of a key are shown, so that a person recognises it.
    for letters in [MARK, "sk-proj-P", "my.PLAN", "ab=PLA"] {
        assert_eq!(
            places(harness, letters, said),
            Vec::<String>::new(),
            "{letters} after {what}"
        );
    }
}

const LOOKS: [&[&str]; 8] = [
    &["config"],
    &["config", "--json"],
    &["status"],
    &["status", "--json"],
    &["results", "in.jsonl"],
    &["results", "batch.jsonl"],
    &["verify"],
    &["check", "in.jsonl"],
];

#[test]
fn no_failure_brings_a_key_to_light() {
    let echo = Echo::start();
    for (place, (source, setting, key)) in SOURCES.into_iter().enumerate() {
        for (n, way) in WAYS.iter().enumerate() {
            let harness = planted(&echo.failing(way), setting);
            let before = echo.heard().len();
            let formats = if n % 2 == 0 {
                ["text", "json"]
            } else {
                ["json", "text"]
            };
            for (input, format) in ["in.jsonl", "batch.jsonl"].into_iter().zip(formats) {
                let output = format!("out-{input}");
                let mut args = vec!["run", input, "-o", &output, "-vvv", "--log-format", format];
                args.extend(["--give-up", "200ms"]);
                if input == "in.jsonl" {
                    args.extend(["--events", "events.jsonl"]);
                }
                let ran = harness.nova3(&args);
                assert!(
                    matches!(ran.code, Some(100 | 105)),
                    "{source} {way} {input}: {}",
                    ran.err
                );
                nowhere(&harness, &format!("{source} {way} {input}"), &[&ran]);
            }
            // The key was sent, so the provider could repeat it.
            let heard = echo.heard();
            assert!(heard.len() > before);
            for call in &heard[before..] {
                assert!(
                    call.head.contains(&format!("authorization: Bearer {key}\r\n")),
                    "{}",
                    call.head
                );
                assert!(call.head.contains(IN_QUERY), "{}", call.head);
            }
            // Later commands read the store only, so one check of each way to fail is enough.
            let looks = if n % SOURCES.len() == place {
                &LOOKS[..]
            } else {
                &[]
            };
            for look in looks {
                let ran = harness.nova3(look);
                assert_ne!(ran.code, Some(2), "{look:?}: {}", ran.err);
                nowhere(&harness, &format!("{source} {way} {look:?}"), &[&ran]);
            }
        }
    }
}

/// Failures before, during and after a call.
#[test]
fn no_obstacle_brings_a_key_to_light() {
    let echo = Echo::start();
    let run = |args: &[&'static str]| [&["run", "in.jsonl", "-vvv"], args].concat();
    for (n, (source, setting, _)) in SOURCES.into_iter().enumerate() {
        let format = ["text", "json", "text"][n];
        let obstacles = [
            (
                "no process listens",
                105,
                run(&["-o", "out.jsonl", "--give-up", "100ms"]),
            ),
            ("unwritable output", 110, run(&["-o", "/dev/full"])),
            ("no such folder", 110, run(&["-o", "none/out.jsonl"])),
            ("no such input", 3, vec!["run", "none.jsonl", "-vvv"]),
            (
                "bad input",
                100,
                vec!["run", "bad.jsonl", "-vvv", "-o", "out.jsonl"],
            ),
            ("a store that is none", 106, run(&["--store", "in.jsonl"])),
            ("a store in no folder", 1, run(&["--store", "none/nova3.db"])),
            ("a wrong flag", 2, run(&["-j", "0"])),
            ("a wrong duration", 2, run(&["--idle-timeout", "soon"])),
        ];
        for (what, code, mut args) in obstacles {
            let harness = planted("http://127.0.0.1:1/v1", setting);
            harness.write("bad.jsonl", "{\"custom_id\":\"b\",\"qu\nnot JSON\n\u{0}\n");
            args.extend(["--log-format", format]);
            let ran = harness.nova3(&args);
            assert_eq!(ran.code, Some(code), "{source} {what}: {}", ran.err);
            nowhere(&harness, &format!("{source} {what}"), &[&ran]);
        }
        // A store in use, and a run under way with its arguments in the process list.
        let harness = planted(&echo.failing("stall"), setting);
        let calls = echo.heard().len();
        let mut first = Running::start(harness.command(&[
            "run",
            "in.jsonl",
            "-o",
            "out.jsonl",
            "--idle-timeout",
            "1h",
            "-vvv",
        ]));
        until("a call is on its way", || echo.heard().len() > calls);
        let arguments = std::fs::read(format!("/proc/{}/cmdline", first.child().id())).unwrap();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        assert!(
            arguments.contains("in.jsonl") && !arguments.contains(MARK),
            "{arguments}"
        );
        let second = harness.nova3(&run(&["-o", "out.jsonl", "--log-format", format]));
        assert_eq!(second.code, Some(107), "{}", second.err);
        assert!(harness.path("nova3.db.lock").exists() && harness.path("nova3.db-wal").exists());
        nowhere(&harness, &format!("{source} a store in use"), &[&second]);
        first.signal(rustix::process::Signal::TERM);
        until("the drain is over or a second signal is due", || {
            first.signal(rustix::process::Signal::TERM);
            first.child().try_wait().unwrap().is_some()
        });
        let ended = harness.ran(&first.output());
        nowhere(&harness, &format!("{source} a cancelled run"), &[&ended]);
    }
}

/// A message about a wrong setting quotes the setting, which may be near a key or be a key.
#[test]
fn wrong_settings_are_told_without_the_keys_in_them() {
    let route = "[routes.a]\nbase_url = \"https://h/v1?api-key=PLANTEDquery\"\nmodel = \"m\"\n";
    for (what, settings) in [
        (
            "a key where none may stand",
            format!("{route}api_key = \"sk-PLANTED0123456789\"\n"),
        ),
        (
            "an unfinished line",
            format!("{route}api_key_file = \"sk-PLANTED0123456789\nmodel = 3\n"),
        ),
        (
            "a wrong type beside it",
            "[routes.a]\nbase_url = [\"https://h/v1?api-key=PLANTEDquery\"]\n".to_owned(),
        ),
        (
            "a wrong port in the address",
            "[routes.a]\nbase_url = \"https://h:x/v1?api-key=PLANTEDquery\"\n".to_owned(),
        ),
        (
            "a key for the name of its variable",
            format!("{route}api_key_env = \"sk-PLANTED0123456789\"\n"),
        ),
    ] {
        let harness = setup();
        harness.write("nova3.toml", settings);
        harness.write_questions("in.jsonl", 1);
        for args in [
            &["run", "in.jsonl", "-vvv"][..],
            &["config"],
            &["config", "--json"],
            &["check", "in.jsonl"],
        ] {
            let ran = harness.nova3(args);
            assert_eq!(ran.code, Some(2), "{what}: {}", ran.err);
            nowhere(&harness, &format!("{what} {args:?}"), &[&ran]);
        }
    }
}

#[test]
fn the_mock_never_tells_the_key_it_asks_for() {
    let harness = setup()
        .with("MOCK_KEY", FROM_ENV)
        .with("OPENAI_API_KEY", "sk-PLANTEDwrong0123456789")
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 1);
    let mut command = harness.command(&[
        "mock",
        "--listen",
        "127.0.0.1:0",
        "--key-env",
        "MOCK_KEY",
        "--log",
        "mock.log",
    ]);
    command.stdout(std::fs::File::create(harness.path("mock.out")).unwrap());
    let mut mock = Running::start(command);
    let address = || std::fs::read_to_string(harness.path("mock.out")).unwrap();
    until("the mock says its address", || address().ends_with('\n'));
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", mock.child().id())).unwrap();
    assert!(
        arguments.contains("MOCK_KEY") && !arguments.contains(MARK),
        "{arguments}"
    );
    let mut command = harness.command(&["run", "in.jsonl", "-vvv", "-o", "out.jsonl"]);
    command.env("OPENAI_BASE_URL", address().trim());
    let refused = harness.ran(&Running::start(command).output());
    assert_eq!(refused.code, Some(105), "{}", refused.err);
    let mut command = harness.command(&["run", "in.jsonl", "-vvv", "-o", "out.jsonl"]);
    command
        .env("OPENAI_BASE_URL", address().trim())
        .env("OPENAI_API_KEY", FROM_ENV);
    let good = harness.ran(&Running::start(command).output());
    assert_eq!(good.code, Some(0), "{}", good.err);
    mock.signal(rustix::process::Signal::TERM);
    let mock = harness.ran(&mock.output());
    assert!(harness.path("mock.log").exists());
    nowhere(&harness, "a mock with a key", &[&refused, &good, &mock]);
    // The message names a variable that is not set. A name is no secret.
    let ran = harness.nova3(&["mock", "--key-env", "NO_KEY"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("`NO_KEY` is not set"), "{}", ran.err);
}

/// A text that may be shown is shown, and the search finds it in all places.
#[test]
fn the_search_finds_what_may_be_there() {
    let echo = Echo::start();
    let harness = planted(&echo.failing("disconnect"), "");
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--events",
        "events.jsonl",
        "--run",
        VISIBLE,
        "-vvv",
    ];
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let found = places(&harness, VISIBLE, &[&ran, &harness.nova3(&["status", VISIBLE])]);
    for place in ["nova3.db", "out.jsonl", "events.jsonl"] {
        assert!(
            found.iter().any(|found| found == place),
            "{place} not in {found:?}"
        );
    }
    for place in ["stdout", "stderr"] {
        assert!(
            found.iter().any(|found| found.starts_with(place)),
            "{place} not in {found:?}"
        );
    }
    // The search also finds a key in a foreign file.
    harness.write("stray.log", FROM_FILE);
    assert_eq!(places(&harness, MARK, &[]), ["stray.log"]);
}
