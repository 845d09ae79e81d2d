//! The kinds of task a queue may hold.

use serde::{Deserialize, Serialize};

/// What a task does, and thereby which agent does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// What lies behind a phenomenon.
    Insight,
    /// Audience segments.
    Profile,
    /// Content angles.
    Hitpoint,
    /// Checked facts with sources.
    Facts,
    /// Finished Xiaohongshu posts.
    XhsWriting,
    /// Spoken scripts for Douyin.
    TiktokScript,
    /// Long articles for `WeChat`.
    WechatArticle,
    /// One direct answer.
    Answer,
}

impl Action {
    /// All actions, in the order in which a full analysis would use them.
    pub const ALL: [Self; 8] = [
        Self::Insight,
        Self::Profile,
        Self::Hitpoint,
        Self::Facts,
        Self::XhsWriting,
        Self::TiktokScript,
        Self::WechatArticle,
        Self::Answer,
    ];

    /// The name as it stands in plans, input lines and result lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insight => "insight",
            Self::Profile => "profile",
            Self::Hitpoint => "hitpoint",
            Self::Facts => "facts",
            Self::XhsWriting => "xhs_writing",
            Self::TiktokScript => "tiktok_script",
            Self::WechatArticle => "wechat_article",
            Self::Answer => "answer",
        }
    }

    /// The action of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// The type of this action's results in events, and the name of its list among selections.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Insight => "nova3_insight",
            Self::Profile => "nova3_profile",
            Self::Hitpoint => "nova3_hitpoint",
            Self::Facts => "nova3_facts",
            Self::XhsWriting => "nova3_xhs_post",
            Self::TiktokScript => "nova3_tiktok_script",
            Self::WechatArticle => "nova3_wechat_article",
            Self::Answer => "final_answer",
        }
    }

    /// The word that begins the ids of this action's items: `fact` for `fact1`.
    pub const fn item_type(self) -> &'static str {
        match self {
            Self::Insight => "insight",
            Self::Profile => "profile",
            Self::Hitpoint => "hitpoint",
            Self::Facts => "fact",
            Self::XhsWriting => "xhs_post",
            Self::TiktokScript => "tiktok_script",
            Self::WechatArticle => "wechat_article",
            Self::Answer => "answer",
        }
    }

    /// Every name in backticks, for a message that lists what is known.
    pub(super) fn known() -> String {
        Self::ALL
            .map(|action| format!("`{}`", action.as_str()))
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_stored_form() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
            assert_eq!(
                serde_json::to_string(&action).unwrap(),
                format!("\"{}\"", action.as_str())
            );
        }
        assert_eq!(Action::parse("Insight"), None);
        assert_eq!(Action::parse(""), None);
    }
}
