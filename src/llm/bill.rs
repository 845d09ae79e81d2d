//! What a call is billed for, as its server says.

use super::dialect::openai::Whole;
use super::response::Answer;
use crate::domain::usage::Usage;

/// What a server says that its answer used.
#[derive(Debug, Default)]
pub(super) struct Bill {
    /// Tokens, where it counted them and can be believed.
    pub(super) usage: Option<Usage>,
    /// Why its count is not believed.
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

impl From<Whole> for Bill {
    fn from(whole: Whole) -> Self {
        Self {
            usage: whole.usage,
            doubt: whole.doubt,
            tier: whole.tier,
        }
    }
}
