//! Checks the README: its commands run, its flags and codes exist, and its data can be generated again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nova3::cli::Exit;

const NOVA3: &str = env!("CARGO_BIN_EXE_nova3");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// A server that stands in for the provider. It ends with the test.
struct Provider {
    server: Child,
    base_url: String,
}

impl Provider {
    fn start() -> Self {
        let mut server = Command::new(NOVA3)
            .args(["mock", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut base_url = String::new();
        BufReader::new(server.stdout.as_mut().unwrap())
            .read_line(&mut base_url)
            .unwrap();
        Self {
            server,
            base_url: base_url.trim().to_owned(),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// A folder as a reader of the README has it. Its PATH has `nova3`, and a `cargo` that runs it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        symlink(NOVA3, bin.join("nova3")).unwrap();
        let cargo = bin.join("cargo");
        std::fs::write(
            &cargo,
            "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] || exit 9\nshift 3\nexec nova3 \"$@\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
        symlink(root().join("fixtures"), folder.path().join("fixtures")).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, provider: &Provider, line: &str) -> Output {
        let settings = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("NOVA3_") || name.starts_with("OPENAI_")
        });
        let mut command = Command::new("bash");
        settings.for_each(|name| {
            command.env_remove(name);
        });
        command
            .args(["-euo", "pipefail", "-c", &format!("PATH=$PWD/bin:$PATH\n{line}")])
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path())
            .env("OPENAI_BASE_URL", &provider.base_url)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// The command lines of the README's `sh` blocks.
fn commands(readme: &str) -> Vec<&str> {
    let mut inside = false;
    let in_blocks = readme.lines().filter(|line| {
        let fence = line.starts_with("```");
        if fence {
            inside = !inside && *line == "```sh";
        }
        inside && !fence
    });
    in_blocks.filter(|line| !line.trim().is_empty()).collect()
}

fn has_jq() -> bool {
    Command::new("jq")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn every_command_runs() {
    if !has_jq() {
        eprintln!("skipped: jq is not installed");
        return;
    }
    let readme = readme();
    let (desk, provider) = (Desk::new(), Provider::start());
    let commands = commands(&readme);
    assert!(
        commands
            .iter()
            .any(|line| line.starts_with("cargo run --release -- run")),
        "the first command is gone"
    );
    for line in commands {
        if let Some(script) = line
            .split_whitespace()
            .next()
            .filter(|first| first.starts_with("scripts/"))
        {
            let mode = std::fs::metadata(root().join(script))
                .unwrap()
                .permissions()
                .mode();
            assert!(mode & 0o111 != 0, "`{script}` cannot be run");
            continue;
        }
        let output = desk.run(&provider, line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "`{line}` ended with {}: {said}",
            output.status
        );
    }
    for (made, fixture) in [
        ("batch.jsonl", "questions-batch.jsonl"),
        ("questions.jsonl", "questions.jsonl"),
    ] {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        assert!(
            read(desk.path().join(made)) == read(root().join("fixtures").join(fixture)),
            "{made} is not {fixture}"
        );
    }
}

fn help(of: &[&str]) -> String {
    let output = Command::new(NOVA3).args(of).arg("--help").output().unwrap();
    assert!(output.status.success(), "{of:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `nova3 --help` lists.
fn listed() -> BTreeSet<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Every word of a text that begins with `begin`.
fn words(text: &str, begin: &str) -> BTreeSet<String> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text
        .split(|c| !part_of_word(c))
        .filter(|word| word.starts_with(begin) && word.contains(|c: char| c.is_ascii_alphanumeric()));
    words.map(str::to_owned).collect()
}

#[test]
fn every_flag_exists() {
    let commands = listed();
    let known: String = commands.iter().map(|command| help(&[command])).collect();
    let (flags, mut elsewhere) = (words(&known, "--"), BTreeSet::new());
    // Flags of cargo and of scripts.
    elsewhere.extend(["--release", "--path", "--open"].map(str::to_owned));
    let unknown: Vec<_> = words(&readme(), "--")
        .into_iter()
        .filter(|flag| !flags.contains(flag))
        .collect();
    assert!(
        unknown.iter().all(|flag| elsewhere.contains(flag)),
        "no such flags: {unknown:?}"
    );
}

#[test]
fn the_table_of_commands_is_complete() {
    let readme = readme();
    let (_, table) = readme.split_once("| command | what it does |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let named: BTreeSet<String> = rows
        .filter_map(|row| row.split('`').nth(1))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, listed());
}

#[test]
fn the_table_of_exit_codes_is_complete() {
    let exits = [
        Exit::Good,
        Exit::Internal,
        Exit::Usage,
        Exit::BadInput,
        Exit::Nothing,
        Exit::Failed,
        Exit::Stopped,
        Exit::Failures,
        Exit::Budget,
        Exit::Deadline,
        Exit::NoRoute,
        Exit::OtherRun,
        Exit::InUse,
        Exit::Output,
        Exit::Signal(2),
        Exit::Signal(15),
    ];
    let readme = readme();
    let (_, table) = readme.split_once("| exit code | meaning |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let named: Vec<u8> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|codes| codes.split(','))
        .map(|code| code.trim().parse().unwrap())
        .collect();
    assert_eq!(named, exits.map(Exit::code));
}

#[test]
fn every_form_of_input_is_accepted() {
    let readme = readme();
    let (_, table) = readme.split_once("| form | decided by | example |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let examples: Vec<String> = rows
        .filter_map(|row| row.split('`').find(|code| code.starts_with('{')))
        .map(|example| {
            example.replace(
                "{…}",
                r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#,
            )
        })
        .collect();
    let (desk, provider) = (Desk::new(), Provider::start());
    std::fs::write(desk.path().join("examples.jsonl"), examples.join("\n")).unwrap();
    let output = desk.run(&provider, "nova3 check examples.jsonl -m m");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && examples.len() == 3,
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn every_file_that_the_pages_name_is_there() {
    let places = [root().join("src"), root()];
    for page in [
        "ARCHITECTURE.md",
        "README.md",
        "docs/performance.md",
        "docs/dependencies.md",
        "docs/operations.md",
        "docs/providers.md",
    ] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let prose: String = text
            .lines()
            .filter(|line| !line.starts_with("pub mod"))
            .collect::<Vec<_>>()
            .join("\n");
        for name in prose.split('`').skip(1).step_by(2) {
            let is_path =
                name.contains('/') && !name.contains(['*', ' ', '|', ':', '=']) && !name.starts_with('/');
            let is_file = is_path
                && [
                    "rs",
                    "toml",
                    "md",
                    "jsonl",
                    "sql",
                    "test",
                    "bench",
                    "yaml",
                    "Dockerfile",
                ]
                .iter()
                .any(|end| name.ends_with(end));
            let is_there = places.iter().any(|place| place.join(name).exists());
            assert!(!is_file || is_there, "{page} names `{name}`, which is not there");
        }
    }
}
