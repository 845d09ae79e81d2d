//! The actions of tasks.
//!
//! The set of actions is data: each agent file names its action. This module knows only the actions that the protocol
//! of the service names, and the form of a name.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// The action of a task, which selects the agent: `[a-z][a-z0-9_]{0,39}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Action(Cow<'static, str>);

/// An action of the service's protocol.
struct ServiceAction {
    action: &'static str,
    content_type: &'static str,
}

/// The actions of the service, in the order in which a full analysis would use them.
const KNOWN: [ServiceAction; 8] = [
    known("insight", "nova3_insight"),
    known("profile", "nova3_profile"),
    known("hitpoint", "nova3_hitpoint"),
    known("facts", "nova3_facts"),
    known("xhs_writing", "nova3_xhs_post"),
    known("tiktok_script", "nova3_tiktok_script"),
    known("wechat_article", "nova3_wechat_article"),
    known("answer", FINAL_ANSWER),
];

const fn known(action: &'static str, content_type: &'static str) -> ServiceAction {
    ServiceAction { action, content_type }
}

/// The content type of a free-text answer.
const FINAL_ANSWER: &str = "final_answer";

impl Action {
    /// One direct answer, which `quick_suggestion` asks for.
    pub const ANSWER: Self = Self(Cow::Borrowed("answer"));

    /// Reads a name. The planner checks whether there is an agent for it.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(known) = KNOWN.iter().find(|known| known.action == name) {
            return Some(Self(Cow::Borrowed(known.action)));
        }
        is_name(name).then(|| Self(Cow::Owned(name.to_owned())))
    }

    /// The name in plans, input lines and result lines.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is a lower-case name: `[a-z][a-z0-9_]{0,39}`.
pub fn is_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Returns the content type of an action's results in events, which is also the name of its list among selections.
/// `item` is the word that begins its ids. The protocol fixes the types of the service's own actions.
pub fn content_type(action: &str, item: &str) -> Cow<'static, str> {
    match KNOWN.iter().find(|known| known.action == action) {
        Some(known) => Cow::Borrowed(known.content_type),
        None => Cow::Owned(format!("nova3_{item}")),
    }
}

/// Whether the key may name a list of selected items: answers cannot be selected.
pub(super) fn is_selection_list(key: &str) -> bool {
    key.strip_prefix("nova3_")
        .is_some_and(|name| is_name(name) && name != "answer")
}

/// Returns the place of a list among the lists of a request: first in the order of a full analysis, then all others.
pub(super) fn list_order(key: &str) -> usize {
    KNOWN
        .iter()
        .position(|known| known.content_type == key)
        .unwrap_or(KNOWN.len())
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("`{name}` is no action")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_stored_form() {
        for name in ["insight", "xhs_writing", "video_title", "a2"] {
            let action = Action::parse(name).unwrap();
            assert_eq!(action.as_str(), name);
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{name}\""));
            assert_eq!(
                serde_json::from_str::<Action>(&format!("\"{name}\"")).unwrap(),
                action
            );
        }
        for name in ["Insight", "", "2a", "a-b", "洞察", &"a".repeat(41)] {
            assert_eq!(Action::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_protocol_names_its_types_and_others_follow_it() {
        assert_eq!(content_type("facts", "fact"), "nova3_facts");
        assert_eq!(content_type("xhs_writing", "xhs_post"), "nova3_xhs_post");
        assert_eq!(content_type("answer", "answer"), "final_answer");
        assert_eq!(content_type("video_title", "title"), "nova3_title");
    }
}
