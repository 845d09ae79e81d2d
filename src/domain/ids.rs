//! Names of users and sessions, each with its own type.

use serde::{Deserialize, Serialize};

use super::printable::steers;

/// A user's name: `[A-Za-z0-9_-]{1,100}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

/// A session's name: `[A-Za-z0-9_-]{1,100}`; unique within its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

/// A name that breaks the rule of user and session names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 100 characters of `A-Z a-z 0-9 _ -`, got `{0}`")]
pub struct BadName(String);

fn checked(name: &str) -> Result<String, BadName> {
    let fits = (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits {
        Ok(name.to_owned())
    } else {
        Err(BadName(shortened(name, 60)))
    }
}

/// Returns the first `limit` characters of `text` for use in a message. Terminal control characters are replaced.
pub fn shortened(text: &str, limit: usize) -> String {
    let mut short: String = text
        .chars()
        .take(limit)
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}

macro_rules! name {
    ($kind:ident) => {
        impl $kind {
            /// Checks the name against the rule.
            pub fn parse(name: &str) -> Result<Self, BadName> {
                checked(name).map(Self)
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::parse(&name).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(UserId);
name!(SessionId);

impl Default for UserId {
    /// The user of a line without a `user_id`.
    fn default() -> Self {
        Self("default".to_owned())
    }
}
