//! The points at which a queue stops on purpose, for a person to choose.

use serde::{Deserialize, Serialize};

use super::action::Action;

/// The tasks after which a queue pauses; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    /// After a task of this action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Action>,
    /// After every task (`"auto": false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each: bool,
}

impl Stops {
    /// Whether the queue pauses after a task of that action, if other tasks follow.
    pub fn after(&self, action: &str) -> bool {
        self.each || self.until.as_ref().is_some_and(|until| until.as_str() == action)
    }

    /// Whether the queue runs to its end.
    pub const fn is_none(&self) -> bool {
        self.until.is_none() && !self.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_pauses_where_it_is_told() {
        let until = Stops {
            until: Action::parse("insight"),
            each: false,
        };
        assert_eq!((until.after("insight"), until.after("facts")), (true, false));
        let each = Stops {
            until: None,
            each: true,
        };
        assert!(each.after("facts") && !each.is_none());
        assert!(Stops::default().is_none() && !Stops::default().after("insight"));
    }
}
