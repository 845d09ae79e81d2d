//! A document as its reader sees it: blocks of commands, of files and of what commands print.

use std::path::PathBuf;

/// Every document whose commands are run.
pub(super) const PAGES: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/guide.md",
    "docs/agents.md",
    "docs/reference.md",
    "docs/recipes.md",
    "docs/troubleshooting.md",
    "docs/operations.md",
];

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a document.
pub(super) fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    /// The line of its fence, from 1.
    pub(super) line: usize,
    /// `sh`, `text`, `toml` and so on.
    pub(super) language: String,
    /// The file that it is the content of: the second word behind the fence.
    pub(super) file: Option<String>,
    pub(super) lines: Vec<String>,
}

/// A command of an `sh` block, on one line.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) text: String,
    /// Exit codes that the page promises: 0, or the one behind `# exit`.
    pub(super) codes: Vec<u8>,
}

impl Block {
    pub(super) fn is_script(&self) -> bool {
        self.language == "sh" && self.file.is_none()
    }

    pub(super) fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        let mut begun = String::new();
        for (line, number) in self.lines.iter().zip(self.line + 1..) {
            begun += line;
            if let Some(more) = begun.strip_suffix('\\') {
                begun = more.to_owned();
                continue;
            }
            let text = std::mem::take(&mut begun);
            if !text.trim().is_empty() && !text.starts_with('#') {
                let codes = codes(&text);
                commands.push(Command {
                    line: number,
                    text,
                    codes,
                });
            }
        }
        commands
    }
}

fn codes(command: &str) -> Vec<u8> {
    if let Some((_, named)) = command.split_once("# exit ") {
        let digits: String = named.chars().take_while(char::is_ascii_digit).collect();
        return vec![
            digits
                .parse()
                .unwrap_or_else(|_| panic!("`{command}` names no exit code")),
        ];
    }
    // A reader that has gone ends a run in the middle, if it is still going.
    if command.contains("| head") {
        return vec![0, 101];
    }
    vec![0]
}

/// The blocks of a document, in order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (line, number) in text.lines().zip(1..) {
        if let Some(info) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                let mut words = info.split_whitespace().map(str::to_owned);
                blocks.push(Block {
                    line: number,
                    language: words.next().unwrap_or_default(),
                    file: words.next(),
                    lines: Vec::new(),
                });
            }
        } else if inside && let Some(block) = blocks.last_mut() {
            block.lines.push(line.to_owned());
        }
    }
    blocks
}

/// The rows of the table under this head, each cut into its cells.
pub(super) fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let (_, rows) = text
        .split_once(head)
        .unwrap_or_else(|| panic!("there is no table `{head}`"));
    rows.lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|row| {
            let row = row.trim_matches('|').replace("\\|", "\u{1}");
            row.split('|')
                .map(|cell| cell.trim().replace('\u{1}', "|"))
                .collect()
        })
        .collect()
}
