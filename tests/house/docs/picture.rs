//! `docs/terminal.svg`: the screen of a real run that is killed, resumed, started again and verified.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::generated::is_update;
use super::page::root;

const COLUMNS: u16 = 100;
const ROWS: u16 = 40;

/// The commands of the picture. The shell itself is silent at the kill; the program keeps the terminal.
const SCRIPT: &str = r#"stty rows 40 cols 100
type() { printf '$ %s\n' "$1"; eval "$1" 2>&1; }
run='nova3 run fixtures/questions.jsonl --mock -o results.jsonl'
printf '$ %s & sleep 1; kill -9 $!\n' "$run"
exec 3>&2 2>/dev/null
$run 2>&3 &
sleep 1
kill -9 $!
wait $!
exec 2>&3
printf '\nKilled\n'
type "$run"
type "$run"
type 'nova3 verify --store nova3-mock.db'
type "jq -r 'select(.custom_id == \"q1\") | .output[0].content[:68]' results.jsonl"
"#;

/// The screen at the end, without empty lines.
fn screen() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    std::fs::write(path.join("script"), SCRIPT).unwrap();
    std::fs::create_dir(path.join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_nova3"), path.join("bin/nova3")).unwrap();
    symlink(root().join("fixtures"), path.join("fixtures")).unwrap();
    let mut child = Command::new("script")
        .args(["-qefc", "PATH=$PWD/bin:$PATH exec bash script", "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("CI")
        .env("HOME", &path)
        .current_dir(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = Vec::new();
    // A terminal that was closed ends its reading with an error.
    drop(child.stdout.take().unwrap().read_to_end(&mut printed));
    child.wait().unwrap();
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    terminal.process(&printed);
    let rows = terminal.screen().rows(0, COLUMNS);
    rows.map(|row| row.trim_end().replace(path.to_str().unwrap(), "~"))
        .filter(|line| !line.is_empty())
        .collect()
}

fn svg(lines: &[String]) -> String {
    let (width, height) = (u32::from(COLUMNS) * 8 + 40, lines.len() * 20 + 36);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"13\" xml:space=\"preserve\">\n"
    );
    for (line, y) in lines.iter().zip((30..).step_by(20)) {
        let colour = if line.starts_with("$ ") {
            "#7fd1ae"
        } else {
            "#d8dee9"
        };
        let line = line
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        writeln!(text, "<text x=\"20\" y=\"{y}\" fill=\"{colour}\">{line}</text>").unwrap();
    }
    text + "</g>\n</svg>\n"
}

/// The lines of a picture without what differs from run to run: numbers, and how far the killed run came.
fn compared(svg: &str) -> Vec<String> {
    let lines = svg.lines().filter(|line| line.starts_with("<text "));
    let texts = lines.filter_map(|line| line.split_once('>')?.1.strip_suffix("</text>"));
    texts
        .filter(|line| {
            let is_panel = line.contains(" running") || line.contains(" in flight");
            !is_panel && !line.starts_with("questions.jsonl")
        })
        .map(|line| {
            let number = |c: char| c.is_ascii_digit() || c == '.';
            let words = line.split(' ').map(|word| {
                if word.trim_start_matches('$').starts_with(number) {
                    "#"
                } else {
                    word
                }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn the_picture_shows_a_real_run() {
    let path = root().join("docs/terminal.svg");
    let made = svg(&screen());
    if is_update() {
        std::fs::write(path, made).unwrap();
        return;
    }
    let shown = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        compared(&shown),
        compared(&made),
        "docs/terminal.svg shows another run (scripts/docs makes it anew)"
    );
}
