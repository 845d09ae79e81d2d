//! A reader who follows a document to the letter, in a folder of their own, with the mock in place of each named host.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::page::{Block, blocks, read, root};
use crate::support::postgres;

const NOVA3: &str = env!("CARGO_BIN_EXE_nova3");

/// Seconds; no page takes so long, and one that does is hung.
const HUNG: &str = "240";

/// Cargo runs the program under test, and is only asked for the rest.
const CARGO: &str = "#!/bin/sh
case \"$1\" in
  run) while [ \"$1\" != -- ]; do shift; done; shift; exec nova3 \"$@\" ;;
  doc | test | nextest | install) exit 0 ;;
  *) exit 9 ;;
esac
";

/// The program under test. With a key it finds the mock at OpenAI's address; without one it says that it has no key, as it would to a reader.
fn with_provider(base_url: &str) -> String {
    format!(
        "#!/bin/sh\n[ -z \"${{OPENAI_API_KEY-}}\" ] || export OPENAI_BASE_URL=\"${{OPENAI_BASE_URL-{base_url}}}\"\nexec {NOVA3} \"$@\"\n"
    )
}

/// Each command is checked by itself, in one shell, so that a page may export variables and start servers.
const PREAMBLE: &str = r#"set -u -o pipefail
PATH=$PWD/bin:$PATH
mkdir -p .printed
PRINTED=$PWD/.printed
exec 3>&2
trap 'kill $(jobs -p) 2>/dev/null' EXIT
begin() { exec >"$PRINTED/$1" 2>&1; NOW=$PRINTED/$1; }
ended() {
  case " $2 " in *" $3 "*) ;; *)
    echo "line $1 ended with $3 instead of $2:" >&3
    tail -n 20 "$NOW" >&3
    exit 99
  esac
}
"#;

/// A server that stands in for the provider; ends with the test.
pub(super) struct Provider {
    server: Child,
    pub(super) base_url: String,
}

impl Provider {
    pub(super) fn start() -> Self {
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

/// A folder as a reader has it, with `nova3` and a `cargo` that runs it on the path.
pub(super) struct Reader {
    folder: tempfile::TempDir,
    provider: Provider,
    database: Option<String>,
}

impl Reader {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["bin", ".cargo/bin", "scripts"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let provider = Provider::start();
        executable(&at("bin/nova3"), &with_provider(&provider.base_url));
        symlink(NOVA3, at(".cargo/bin/nova3")).unwrap();
        executable(&at("bin/cargo"), CARGO);
        symlink(root().join("fixtures"), at("fixtures")).unwrap();
        // Those of the repository take long: it is enough that they can be run.
        for script in std::fs::read_dir(root().join("scripts")).unwrap() {
            let script = script.unwrap();
            if script.metadata().unwrap().permissions().mode() & 0o111 != 0 {
                executable(&at("scripts").join(script.file_name()), "#!/bin/sh\n");
            }
        }
        Self {
            folder,
            provider,
            database: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Does what the page says from its first line to its last; answers what each of its `sh` blocks printed.
    pub(super) fn follow(&mut self, page: &str) -> Vec<(Block, String)> {
        let text = read(page);
        if text.contains("postgres://") {
            self.database = Some(postgres::fresh_database(postgres::shared()));
        }
        let blocks = blocks(&text);
        let mut script = PREAMBLE.to_owned();
        for block in &blocks {
            self.add(block, &mut script);
        }
        let said = self.shell(&script);
        assert!(said.is_empty(), "{page}, {said}");
        blocks
            .into_iter()
            .map(|block| {
                let printed = self.path().join(format!(".printed/{}", block.line));
                let printed = std::fs::read(printed).unwrap_or_default();
                (block, String::from_utf8_lossy(&printed).into_owned())
            })
            .collect()
    }

    fn add(&self, block: &Block, script: &mut String) {
        let line = block.line;
        if let Some(file) = &block.file {
            let text = self.without_hosts(&block.lines.join("\n"));
            writeln!(script, "cat >{file} <<'END-OF-FILE'\n{text}\nEND-OF-FILE").unwrap();
            if text.starts_with("#!") {
                writeln!(script, "chmod +x {file}").unwrap();
            }
        } else if block.is_script() {
            writeln!(script, "begin {line}").unwrap();
            for command in block.commands() {
                let codes: Vec<String> = command.codes.iter().map(u8::to_string).collect();
                let text = self.without_hosts(&command.text);
                writeln!(script, "{text}\nended {} '{}' $?", command.line, codes.join(" ")).unwrap();
            }
        } else if block.language == "crontab" {
            for entry in &block.lines {
                let command = command_of(entry);
                writeln!(script, "begin {line}\ncron '{command}'\nended {} 0 $?", line + 1).unwrap();
            }
        }
    }

    /// The mock in place of each server, the test's database in place of each other one, and a free port for each mock.
    fn without_hosts(&self, text: &str) -> String {
        let mut text = text.replace("nova3 mock ", "nova3 mock --listen 127.0.0.1:0 ");
        text = replace_urls(&text, "https://", &self.provider.base_url);
        text = replace_urls(&text, "http://", &self.provider.base_url);
        match &self.database {
            Some(database) => replace_urls(&text, "postgres://", database),
            None => text,
        }
    }

    /// Runs a script in the reader's folder; answers what it says is wrong.
    pub(super) fn shell(&self, script: &str) -> String {
        // Cron has a bare environment, and mails what a job prints.
        let cron = "cron() { env -i HOME=\"$HOME\" PATH=/usr/bin:/bin /bin/sh -c \"cd \\\"$HOME\\\"; $1\" >\"$NOW\" 2>&1 && [ ! -s \"$NOW\" ]; }\n";
        let settings = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("NOVA3_") || name.starts_with("OPENAI_")
        });
        let mut command = Command::new("timeout");
        settings.for_each(|name| {
            command.env_remove(name);
        });
        let output = command
            .args(["-k", "5", HUNG, "bash", "-c", &format!("{cron}{script}")])
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path())
            // A worker that a page starts waits for more work.
            .env("NOVA3_UNTIL_IDLE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.is_empty() && !output.status.success() {
            return format!("ended with {}", output.status);
        }
        said
    }
}

/// The command of a line of a crontab.
fn command_of(entry: &str) -> &str {
    let mut rest = entry;
    for _ in 0..5 {
        rest = rest
            .trim_start()
            .split_once(' ')
            .unwrap_or_else(|| panic!("`{entry}` is no entry of a crontab"))
            .1;
    }
    rest.trim_start()
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The text with `with` in place of every URL of this scheme.
fn replace_urls(text: &str, scheme: &str, with: &str) -> String {
    let mut parts = text.split(scheme);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || "\"'`)".contains(c));
        out += with;
        out += &part[end.unwrap_or(part.len())..];
    }
    out
}
