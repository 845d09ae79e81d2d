//! What a call of the mock's log asks for.

use crate::support::evidence::Call;

/// Reads which version of which request asks.
pub(crate) trait Marked {
    /// The text in angle brackets in the question. A question without such a mark is known by its digest.
    fn marker(&self) -> String;
}

impl Marked for Call {
    fn marker(&self) -> String {
        marker(&self.question).unwrap_or_else(|| self.digest.clone())
    }
}

/// The marker of a question, which stands last in its prompt: rounds before it have markers of their own.
fn marker(question: &str) -> Option<String> {
    let rest = question.rsplit_once("<r")?.1;
    let marker = rest.split_once('>').expect("a marker has its end").0;
    Some(format!("r{marker}"))
}

/// How a call ended. The mock is at rest.
pub(crate) fn outcome(call: &Call) -> &str {
    call.end.as_ref().map_or("", |end| &end.outcome)
}

/// The tokens of a call.
pub(crate) fn tokens(call: &Call) -> u64 {
    let (input, output) = call.tokens();
    input + output
}
