//! The request of a call in the mock's log.

use crate::support::evidence::Call;

/// Reads the request and version that a call asks for.
pub(crate) trait Marked {
    /// Returns the text in angle brackets in the question, or the digest of a question without such a mark.
    fn marker(&self) -> String;
}

impl Marked for Call {
    fn marker(&self) -> String {
        marker(&self.question).unwrap_or_else(|| self.digest.clone())
    }
}

/// Returns the marker of a question. It is the last one in the prompt, because earlier rounds have their own markers.
fn marker(question: &str) -> Option<String> {
    let rest = question.rsplit_once("<r")?.1;
    let marker = rest.split_once('>').expect("a marker has its end").0;
    Some(format!("r{marker}"))
}

/// Returns how a call ended. The mock must be at rest.
pub(crate) fn outcome(call: &Call) -> &str {
    call.end.as_ref().map_or("", |end| &end.outcome)
}

/// Returns the tokens of a call.
pub(crate) fn tokens(call: &Call) -> u64 {
    let (input, output) = call.tokens();
    input + output
}
