//! The properties of the terminal at stderr, and the store as a command has to name it.

use super::args::Global;
use super::logging;
use crate::config::{StoreAddress, process_env};
use crate::observe::{Screen, TerminalTraits};

/// The file that a command uses without `--store`.
const DEFAULT_STORE: &str = "nova3.db";

/// The terminal at stderr.
pub(super) fn screen(global: &Global) -> Screen {
    Screen::new(TerminalTraits {
        colours: logging::colours(global),
        keeps_lines: keeps_lines(&process_env),
    })
}

/// The properties of a terminal without colours.
pub(super) fn without_colours() -> TerminalTraits {
    TerminalTraits {
        colours: false,
        keeps_lines: keeps_lines(&process_env),
    }
}

/// Whether the terminal leaves drawn lines as they are when its window becomes narrower: `xterm`, the console of Linux
/// and GNU screen do, others wrap them anew.
fn keeps_lines(env: &dyn Fn(&str) -> Option<String>) -> bool {
    if env("TMUX").is_some() {
        return false;
    }
    env("XTERM_VERSION").is_some() || env("STY").is_some() || env("TERM").is_some_and(|term| term == "linux")
}

/// The store that a later command has to name; `None` if it finds the store by itself.
pub(super) fn named_store(store: &StoreAddress) -> Option<String> {
    let name = store.to_string();
    (name != DEFAULT_STORE).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmux_wraps_lines_whatever_it_runs_in() {
        let keeps = |set: &[(&str, &str)]| {
            keeps_lines(&|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(!keeps(&[("TERM", "xterm-256color")]));
        assert!(keeps(&[
            ("TERM", "xterm-256color"),
            ("XTERM_VERSION", "XTerm(390)")
        ]));
        assert!(!keeps(&[("XTERM_VERSION", "XTerm(390)"), ("TMUX", "/tmp/t")]));
        assert!(keeps(&[("TERM", "linux")]) && keeps(&[("STY", "1.pts-0")]));
    }

    #[test]
    fn the_default_store_need_not_be_named() {
        let file = |name: &str| named_store(&StoreAddress::File(name.into()));
        assert_eq!(file("nova3.db"), None);
        assert_eq!(file("nova3-mock.db").as_deref(), Some("nova3-mock.db"));
    }
}
