//! The lane of a call: the service tier that served it, which decides its price and speed.

use std::fmt;

/// The longest name of a lane, in characters. A server chooses the name of its tier.
const MOST_OF_A_NAME: usize = 24;

/// The tiers that mean the usual service at the usual price, in the words of the servers.
const USUAL: [&str; 5] = ["auto", "default", "on_demand", "standard", "live"];

/// The lane of a call, as the ledger and the bill name it: `live`, or the tier that served (`flex`, `priority`, `batch`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(String);

impl Lane {
    /// Returns the lane of the usual service.
    pub fn live() -> Self {
        Self("live".to_owned())
    }

    /// Returns the lane of a service tier. The usual tiers of all servers are one lane. Of another tier the lane has the
    /// letters in lower case, the digits, `-`, `_` and `.`, and no more than the longest name allows.
    pub fn of_tier(tier: Option<&str>) -> Self {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name: String = tier
            .unwrap_or_default()
            .chars()
            .filter(allowed)
            .take(MOST_OF_A_NAME)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if name.is_empty() || USUAL.contains(&name.as_str()) {
            return Self::live();
        }
        Self(name)
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_tiers_are_one_lane() {
        for tier in [
            None,
            Some(""),
            Some("auto"),
            Some("Default"),
            Some("on_demand"),
            Some("standard"),
        ] {
            assert_eq!(Lane::of_tier(tier), Lane::live(), "{tier:?}");
        }
    }

    #[test]
    fn a_hostile_tier_is_a_short_plain_name() {
        let lane = |tier: &str| Lane::of_tier(Some(tier)).to_string();
        assert_eq!(lane("Flex"), "flex");
        assert_eq!(lane("=cmd|' /C calc'!A0"), "cmdccalca0");
        assert_eq!(lane("\u{1b}[31m\n"), "31m");
        assert_eq!(lane("价格"), "live");
        assert_eq!(lane(&"x".repeat(500)), "x".repeat(24));
    }
}
