//! The lines below the closing line: failures with the next step, the input, tokens, files, the next command.

use super::amounts::{grouped, money};
use super::event::{InputChange, Report, RunEnding};
use super::styled::StyledLine;
use crate::domain::ids::shortened;
use crate::domain::tally::FailedClass;
use crate::domain::usage::Cost;

/// The longest message of an example, in characters.
const MESSAGE_LENGTH: usize = 300;

/// The width of the names at the left.
const LABEL: usize = 9;

/// A line of the closing block: its name, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClosingPart {
    label: &'static str,
    text: String,
}

fn part(label: &'static str, text: impl Into<String>) -> ClosingPart {
    ClosingPart {
        label,
        text: text.into(),
    }
}

/// Returns the parts that have something to say. `store` is the store that the next command has to name.
pub(super) fn closing_parts(report: &Report, store: Option<&str>) -> Vec<ClosingPart> {
    let mut parts = Vec::new();
    if report.ending == RunEnding::NoRequests || report.counts.total == 0 {
        return parts;
    }
    for failed in &report.failures {
        parts.push(part("failed", failure(failed)));
        let (advice, class) = (failed.class.advice(), failed.class.as_str());
        parts.push(part("", format!("{advice} More: nova3 explain {class}")));
    }
    if let Some(change) = report.change.and_then(changed) {
        parts.push(part("input", change));
    }
    if report.usage_now.total() > 0 {
        parts.push(part("tokens", tokens(report)));
    }
    if report.summary.wasted > Cost::ZERO {
        let wasted = money(report.summary.wasted);
        parts.push(part(
            "wasted",
            format!("{wasted} for calls whose answer was of no use"),
        ));
    }
    for file in &report.files {
        parts.push(part("results", file.display().to_string()));
    }
    if let Some(next) = next_command(report, store) {
        parts.push(part("next", next));
    }
    parts
}

/// One class of failures, with an example.
fn failure(failed: &FailedClass) -> String {
    let example = match (&failed.custom_id, failed.line) {
        (Some(id), _) => format!("`{}`: ", shortened(id, 60)),
        (None, Some(line)) => format!("line {line}: "),
        (None, None) => String::new(),
    };
    let message = shortened(&failed.message, MESSAGE_LENGTH);
    let such = if failed.requests > 1 { "for example " } else { "" };
    format!(
        "{} {}, {such}{example}{message}",
        failed.requests,
        failed.class.as_str()
    )
}

/// How the input differs; `None` if it does not.
pub(super) fn changed(change: InputChange) -> Option<String> {
    let parts = [
        (change.new, "new"),
        (change.changed, "changed"),
        (change.removed, "removed"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn tokens(report: &Report) -> String {
    let used = report.usage_now;
    let mut text = format!("{} in", grouped(used.input_tokens));
    if used.cached_input_tokens > 0 {
        text += &format!(" ({} of them cached)", grouped(used.cached_input_tokens));
    }
    text + &format!(", {} out", grouped(used.output_tokens))
}

/// The command that a person probably runs next; `None` if the input holds no request.
pub(super) fn next_command(report: &Report, store: Option<&str>) -> Option<String> {
    if report.counts.total == 0 {
        return None;
    }
    let again = "the same command again";
    let of_run = |command: &str| {
        let store = store.map_or_else(String::new, |store| format!(" --store {}", quoted(store)));
        format!("nova3 {command} {}{store}", quoted(&report.run))
    };
    Some(match &report.ending {
        RunEnding::NoRequests => return None,
        RunEnding::NoRoute { .. } => format!("repair the route that the message names, then {again}"),
        RunEnding::Budget { .. } => format!("raise `--max-cost`, then {again}"),
        RunEnding::Failures { .. } => format!("look at the failures, then {again}"),
        RunEnding::Signal(_) | RunEnding::Deadline => again.to_owned(),
        RunEnding::Finished | RunEnding::ClosedPipe | RunEnding::Limit => {
            let is_repeatable = |failed: &FailedClass| failed.line.is_none();
            if report.counts.unfinished() > 0 {
                again.to_owned()
            } else if report.failures.iter().any(is_repeatable) {
                format!("{}, then {again}", of_run("retry"))
            } else if report.counts.bad() > 0 {
                format!("correct the lines, then {again}")
            } else if report.files.is_empty() {
                of_run("results")
            } else {
                of_run("verify")
            }
        }
    })
}

/// Quotes a word for the shell, if it needs quotes.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-/:@%+=,".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl ClosingPart {
    /// The part as one line.
    pub(super) fn line(&self) -> String {
        format!("  {:<LABEL$}{}", self.label, self.text)
    }

    /// The part as lines of a window. Words that do not fit continue below the text.
    pub(super) fn wrapped(&self, columns: usize) -> Vec<String> {
        wrapped(&self.line(), LABEL + 2, columns)
    }
}

/// Breaks a line between words where it is wider than the window. Later lines begin with an indent.
pub(super) fn wrapped(line: &str, indent: usize, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while StyledLine::from(rest.as_str()).width() > columns {
        let Some(end) = last_space(&rest, columns, indent) else {
            break;
        };
        let next = rest.get(end..).unwrap_or_default().trim_start().to_owned();
        rest.truncate(end);
        lines.push(rest);
        rest = " ".repeat(indent) + &next;
    }
    lines.push(rest);
    lines
}

/// The place of the last space behind the indent at which the line fits.
fn last_space(line: &str, columns: usize, indent: usize) -> Option<usize> {
    let mut spaces = line
        .char_indices()
        .filter(|(_, c)| *c == ' ')
        .map(|(place, _)| place);
    spaces.rfind(|place| {
        let before = line.get(..*place).unwrap_or_default();
        *place > indent && !before.trim().is_empty() && StyledLine::from(before).width() <= columns
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::Class;
    use crate::domain::usage::Usage;
    use crate::observe::sinks::summary::tests::report;

    fn failures() -> Report {
        Report {
            failures: vec![
                FailedClass {
                    class: Class::Timeout,
                    requests: 2,
                    custom_id: Some("q7".to_owned()),
                    line: None,
                    message: "no first token within 60 s".to_owned(),
                },
                FailedClass {
                    class: Class::BadRequest,
                    requests: 1,
                    custom_id: None,
                    line: Some(9),
                    message: "it is not JSON".to_owned(),
                },
            ],
            change: Some(InputChange {
                new: 3,
                changed: 0,
                removed: 1,
            }),
            usage_now: Usage {
                input_tokens: 12_034,
                cached_input_tokens: 1_000,
                output_tokens: 3_400,
                cache_write_tokens: 0,
            },
            files: vec!["/work/out.jsonl".into()],
            ..report()
        }
    }

    fn text(report: &Report, columns: usize) -> String {
        let parts = closing_parts(report, None);
        let lines = parts.iter().flat_map(|part| part.wrapped(columns));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_block_says_what_failed_and_the_next_step() {
        let broad = text(&failures(), 200);
        assert!(broad.starts_with("  failed   2 timeout"), "{broad}");
        insta::assert_snapshot!(broad, @r"
        failed   2 timeout, for example `q7`: no first token within 60 s
                 Raise `--timeout` or `--first-token-timeout`, or use a faster model, then retry. More: nova3 explain timeout
        failed   1 bad_request, line 9: it is not JSON
                 Correct the line, or the parameter that the message names; the next run runs a changed line again. More: nova3 explain bad_request
        input    3 new, 1 removed
        tokens   12,034 in (1,000 of them cached), 3,400 out
        wasted   $0.5000 for calls whose answer was of no use
        results  /work/out.jsonl
        next     nova3 retry q.jsonl, then the same command again
        ");
        let narrow = text(&failures(), 60);
        insta::assert_snapshot!(narrow, @r"
        failed   2 timeout, for example `q7`: no first token
                 within 60 s
                 Raise `--timeout` or `--first-token-timeout`, or
                 use a faster model, then retry. More: nova3
                 explain timeout
        failed   1 bad_request, line 9: it is not JSON
                 Correct the line, or the parameter that the
                 message names; the next run runs a changed line
                 again. More: nova3 explain bad_request
        input    3 new, 1 removed
        tokens   12,034 in (1,000 of them cached), 3,400 out
        wasted   $0.5000 for calls whose answer was of no use
        results  /work/out.jsonl
        next     nova3 retry q.jsonl, then the same command again
        ");
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
    }

    #[test]
    fn each_end_has_its_next_command() {
        let next = |report: &Report, store| next_command(report, store).unwrap_or_default();
        let good = Report {
            failures: Vec::new(),
            counts: crate::domain::tally::Counts {
                total: 80,
                done: 80,
                ..Default::default()
            },
            ..report()
        };
        assert_eq!(next(&good, None), "nova3 results q.jsonl");
        assert_eq!(
            next(&good, Some("my store.db")),
            "nova3 results q.jsonl --store 'my store.db'"
        );
        let to_file = Report {
            files: vec!["/o".into()],
            ..good.clone()
        };
        assert_eq!(next(&to_file, None), "nova3 verify q.jsonl");
        assert_eq!(
            next(&failures(), None),
            "nova3 retry q.jsonl, then the same command again"
        );
        let mut bad_lines = failures();
        bad_lines.failures.remove(0);
        assert_eq!(
            next(&bad_lines, None),
            "correct the lines, then the same command again"
        );
        let stopped = Report {
            ending: RunEnding::Budget { cap: Cost(1) },
            ..good.clone()
        };
        assert_eq!(
            next(&stopped, None),
            "raise `--max-cost`, then the same command again"
        );
        let odd = Report {
            run: "it's; rm".to_owned(),
            ..good.clone()
        };
        assert_eq!(next(&odd, None), r"nova3 results 'it'\''s; rm'");
        let empty = Report {
            counts: crate::domain::tally::Counts::default(),
            ..good
        };
        assert_eq!(next_command(&empty, None), None);
        assert_eq!(closing_parts(&empty, None), []);
    }

    #[test]
    fn a_word_that_is_wider_than_the_window_stays_whole() {
        assert_eq!(
            wrapped("  results  /a/long/path", 11, 12),
            ["  results  /a/long/path"]
        );
        assert_eq!(wrapped("one two three", 2, 8), ["one two", "  three"]);
    }
}
