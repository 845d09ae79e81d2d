//! Every rule of the input contract, with its message.

mod forms;
mod keys;
mod laws;
mod rules;
mod syntax;

use super::*;
use serde_json::{Value, json};

const STRICT: Rules = Rules {
    lenient: false,
    without_query: false,
};
const LENIENT: Rules = Rules {
    lenient: true,
    without_query: false,
};

fn accepted(line: &str) -> Accepted {
    read_line(line.as_bytes(), STRICT).unwrap_or_else(|bad| panic!("{line}: {bad}"))
}

fn brief(line: &str) -> Brief {
    match accepted(line).request.work {
        Work::Brief(brief) => *brief,
        Work::Completion(_) => panic!("expected a brief: {line}"),
    }
}

fn completion(line: &str) -> Completion {
    match accepted(line).request.work {
        Work::Completion(completion) => completion,
        Work::Brief(_) => panic!("expected a completion: {line}"),
    }
}

fn bad(line: impl AsRef<[u8]>) -> BadLine {
    let line = line.as_ref();
    match read_line(line, STRICT) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(line)),
        Err(bad) => bad,
    }
}

#[track_caller]
fn check_messages(table: &[(&str, &str)]) {
    for (line, message) in table {
        assert_eq!(bad(line).message, *message, "{line}");
    }
}
