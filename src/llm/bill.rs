//! The usage that a server reports for a call.

use super::dialect::openai::PassedOn;
use super::response::Answer;
use crate::domain::usage::Usage;

/// The usage that a server reports for its answer.
#[derive(Debug, Default)]
pub(super) struct Bill {
    /// The token counts, if the server sent them and they are plausible.
    pub(super) usage: Option<Usage>,
    /// The reason why the counts are not plausible.
    pub(super) doubt: Option<String>,
    /// The tier of service.
    pub(super) tier: Option<String>,
}

impl Bill {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            usage: answer.usage,
            doubt: answer.doubt.clone(),
            tier: answer.tier.clone(),
        }
    }
}

impl From<PassedOn> for Bill {
    fn from(whole: PassedOn) -> Self {
        Self {
            usage: whole.usage,
            doubt: whole.doubt,
            tier: whole.tier,
        }
    }
}
