//! Faults of the program on purpose, for tests of what a fault of one request does to the others.
//!
//! A debug build alone has them. `NOVA3_FAILPOINTS` names them, separated by commas: `panic-before-call=TEXT` and
//! `panic-after-call=TEXT` make the worker panic whose task has TEXT in its input, `once-after-call=TEXT` does so
//! once, `abort-before-call=TEXT` and `abort-after-call=TEXT` end the process there, `panic-ingest=` and `panic-exporter=`
//! make those parts panic.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether what is to happen once has happened.
static HIT: AtomicBool = AtomicBool::new(false);

/// A place where a fault can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before a prompt is built.
    BeforeCall,
    /// When an answer is there, before its task is settled.
    AfterCall,
    /// When the input is read into the store.
    Ingest,
    /// When finished lines are written.
    Exporter,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::BeforeCall => "before-call",
            Self::AfterCall => "after-call",
            Self::Ingest => "ingest",
            Self::Exporter => "exporter",
        }
    }
}

/// The fault that is asked for at this place and for this text, if one is.
#[expect(clippy::panic, reason = "a fault on purpose, which no release build has")]
pub(super) fn hit(place: Place, text: &str) {
    let Some(asked) = crate::config::process_env("NOVA3_FAILPOINTS") else {
        return;
    };
    for (what, of) in asked.split(',').filter_map(|one| one.split_once('=')) {
        let Some((fault, at)) = what.split_once('-') else {
            continue;
        };
        if at != place.name() || !text.contains(of) {
            continue;
        }
        match fault {
            "abort" => std::process::abort(),
            "once" if HIT.swap(true, Ordering::Relaxed) => {}
            _ => panic!("failpoint `{what}`"),
        }
    }
}
