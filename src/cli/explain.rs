//! `nova3 explain`: prints a section of `docs/errors.md`, which is built in.

use anyhow::Result;

use super::args::ExplainArgs;
use super::exit::{Exit, decided};
use super::print;
use crate::domain::ids::shortened;

/// The page of errors.
const PAGE: &str = include_str!("../../docs/errors.md");

/// The beginning of a section.
const HEADING: &str = "\n## ";

pub(super) fn main(args: &ExplainArgs) -> Result<Exit> {
    let Some(name) = &args.name else {
        print(format!("{}\n", names().join("\n")).as_bytes())?;
        return Ok(Exit::Good);
    };
    let Some(text) = section(name) else {
        let known = names().join(", ");
        let message = format!("there is no page `{}` (there are: {known})", shortened(name, 40));
        return Err(decided(Exit::Nothing, message));
    };
    print(format!("{text}\n").as_bytes())?;
    Ok(Exit::Good)
}

/// The names of all sections, in the order of the page.
fn names() -> Vec<&'static str> {
    let sections = PAGE.split(HEADING).skip(1);
    sections.filter_map(|section| section.lines().next()).collect()
}

/// The section of a class or an exit code, such as `auth`, `exit 106` or `106`.
fn section(name: &str) -> Option<&'static str> {
    let name = name.trim().to_lowercase().replace('-', " ");
    let is_it = |section: &&str| {
        let heading = section.lines().next().unwrap_or_default();
        heading == name || heading == name.replace(' ', "_") || heading == format!("exit {name}")
    };
    let found = PAGE.split(HEADING).skip(1).find(is_it)?;
    // The last class is followed by the heading of the exit codes.
    let end = found.find("\n# ").unwrap_or(found.len());
    Some(found[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::Class;

    #[test]
    fn every_class_and_every_exit_code_has_a_section() {
        for class in Class::ALL {
            let text = section(class.as_str()).unwrap();
            assert!(text.lines().count() > 2, "{text}");
        }
        for exit in Exit::ALL {
            let text = section(&exit.code().to_string()).unwrap();
            assert!(text.starts_with(&format!("exit {}\n", exit.code())), "{text}");
        }
        assert_eq!(names().len(), Class::ALL.len() + Exit::ALL.len());
        assert!(section("bad-request").is_some() && section("exit-106").is_some());
        assert!(!section("internal").unwrap().contains("Exit codes"));
        assert!(section("nothing").is_none() && section("").is_none());
    }
}
