//! Failpoints: named places where a debug build can break one rule, or end the process, on purpose.
//!
//! A test switches them on with `NOVA3_FAILPOINTS`, a comma-separated list:
//!
//! * `NAME` breaks the rule of `failpoint!("NAME")`. Such a failpoint is a mutant: `tests/laws.toml` names the law that
//!   must turn red.
//! * `NAME=ACTION:TEXT` acts at `failpoint!("NAME", subject)` if the subject contains TEXT. `panic` panics, `once`
//!   panics the first time, `abort` ends the process.
//!
//! SQL has failpoints too, in comments that [`sql`] reads:
//!
//! * A line that ends with `-- unless failpoint NAME` is left out while NAME is on.
//! * A line `-- if failpoint NAME: SQL` is replaced by its SQL while NAME is on.
//!
//! In a release build `failpoint!("NAME")` is the constant `false`, `failpoint!("NAME", subject)` does nothing, and
//! [`sql`] returns its argument unchanged.

#[cfg(not(debug_assertions))]
use std::borrow::Cow;

/// Returns whether a rule is broken here (`failpoint!("NAME")`), or runs an action here (`failpoint!("NAME",
/// subject)`).
#[cfg(debug_assertions)]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::is_on($name)
    };
    ($name:literal, $subject:expr) => {
        $crate::failpoint::act($name, $subject)
    };
}

/// Does nothing and breaks no rule in a release build.
#[cfg(not(debug_assertions))]
macro_rules! failpoint {
    ($name:literal) => {
        false
    };
    ($name:literal, $subject:expr) => {{}};
}

/// Returns the SQL unchanged in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn sql(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

#[cfg(debug_assertions)]
pub(crate) use debug::{act, is_on, sql};

#[cfg(debug_assertions)]
mod debug {
    use std::borrow::Cow;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    const VARIABLE: &str = "NOVA3_FAILPOINTS";
    const UNLESS: &str = "-- unless failpoint ";
    const IF: &str = "-- if failpoint ";

    /// An entry of the variable.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct FailpointEntry {
        name: String,
        /// An action and the text that its subject must contain.
        action: Option<(String, String)>,
    }

    pub(super) fn parse(list: &str) -> Vec<FailpointEntry> {
        let entry = |text: &str| match text.split_once('=') {
            None => FailpointEntry {
                name: text.to_owned(),
                action: None,
            },
            Some((name, action)) => {
                let (action, of) = action.split_once(':').unwrap_or((action, ""));
                FailpointEntry {
                    name: name.to_owned(),
                    action: Some((action.to_owned(), of.to_owned())),
                }
            }
        };
        list.split(',')
            .filter(|text| !text.is_empty())
            .map(entry)
            .collect()
    }

    fn entries() -> &'static [FailpointEntry] {
        static ENTRIES: OnceLock<Vec<FailpointEntry>> = OnceLock::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "a failpoint is no setting of the program"
        )]
        ENTRIES.get_or_init(|| parse(&std::env::var(VARIABLE).unwrap_or_default()))
    }

    /// Whether the rule of this name is broken.
    pub(crate) fn is_on(name: &str) -> bool {
        entries()
            .iter()
            .any(|entry| entry.name == name && entry.action.is_none())
    }

    /// Panics or ends the process if an entry asks for it at this place and for this subject.
    #[expect(clippy::panic, reason = "a fault on purpose, which no release build has")]
    pub(crate) fn act(name: &str, subject: &str) {
        static HIT: AtomicBool = AtomicBool::new(false);
        for entry in entries().iter().filter(|entry| entry.name == name) {
            let Some((action, _)) = entry.action.as_ref().filter(|(_, of)| subject.contains(of)) else {
                continue;
            };
            match action.as_str() {
                "abort" => std::process::abort(),
                "once" if HIT.swap(true, Ordering::Relaxed) => {}
                _ => panic!("failpoint `{name}`"),
            }
        }
    }

    /// Applies the failpoints in the comments of SQL.
    pub(crate) fn sql(text: &str) -> Cow<'_, str> {
        if entries().is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(with(text, is_on))
    }

    /// Returns the SQL with those failpoints on for which `is_on` returns true.
    pub(super) fn with(text: &str, is_on: impl Fn(&str) -> bool) -> String {
        let any = |names: &str| names.split(',').any(|name| is_on(name.trim()));
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            if line.split_once(UNLESS).is_some_and(|(_, names)| any(names)) {
                continue;
            }
            let replaced = line.split_once(IF).and_then(|(_, rest)| rest.split_once(':'));
            out.push_str(match replaced {
                Some((names, sql)) if any(names) => sql,
                _ => line,
            });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::debug::{parse, with};

    #[test]
    fn a_line_is_left_out_or_put_in() {
        let text = "a\nb -- unless failpoint x, y\n  -- if failpoint y: c:d\ne\n";
        assert_eq!(with(text, |_| false), text);
        assert_eq!(with(text, |name| name == "x"), "a\n  -- if failpoint y: c:d\ne\n");
        assert_eq!(with(text, |name| name == "y"), "a\n c:d\ne\n");
    }

    #[test]
    fn entries_are_rules_or_actions() {
        assert_eq!(parse("").len(), 0);
        let entries = format!("{:?}", parse("a-rule,before-call=panic:some text,ingest=once"));
        assert!(entries.contains(r#"name: "a-rule", action: None"#), "{entries}");
        assert!(entries.contains(r#"Some(("panic", "some text"))"#), "{entries}");
        assert!(entries.contains(r#"Some(("once", ""))"#), "{entries}");
    }
}
