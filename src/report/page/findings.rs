//! Warnings of results by kind.

use serde::Serialize;

/// The kind of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WarningKind {
    /// A text holds a banned or forbidden word.
    BannedWord,
    /// A text does not carry the label of generated content.
    MissingLabel,
    /// A statement does not stand in the material.
    Ungrounded,
    /// A word that the product asks for is missing.
    MissingWord,
    /// A title, a body or a list of tags has the wrong length.
    Length,
    /// The answer has another language than the query.
    Language,
    /// An answer was cut.
    Cut,
    /// Items were dropped or merged.
    Dropped,
    /// A search found nothing.
    Search,
    /// The plan is the default one.
    Plan,
    /// A part is left out.
    Part,
    /// The tokens of a call were not counted right.
    Tokens,
    /// Any other warning.
    Other,
}

/// Words by which a warning is recognised; the first entry that fits counts.
const SIGNS: [(&str, WarningKind); 23] = [
    ("holds the banned word", WarningKind::BannedWord),
    ("product.must_not_say", WarningKind::BannedWord),
    ("product.must_say", WarningKind::MissingWord),
    ("does not carry the label", WarningKind::MissingLabel),
    ("states what its material does not have", WarningKind::Ungrounded),
    ("`title` counts as", WarningKind::Length),
    ("`content` has", WarningKind::Length),
    ("`tags` has", WarningKind::Length),
    ("holds no letter and no digit", WarningKind::Length),
    ("language of the query", WarningKind::Language),
    ("cut off", WarningKind::Cut),
    ("was cut", WarningKind::Cut),
    ("repeated itself", WarningKind::Cut),
    ("nothing was looked up", WarningKind::Search),
    ("no search provider looked up", WarningKind::Search),
    ("the search failed", WarningKind::Search),
    ("the default plan was taken", WarningKind::Plan),
    ("it ran through", WarningKind::Plan),
    ("a part failed", WarningKind::Part),
    ("counted its tokens right", WarningKind::Tokens),
    ("dropped", WarningKind::Dropped),
    ("were kept", WarningKind::Dropped),
    ("merged", WarningKind::Dropped),
];

impl WarningKind {
    /// Returns the kind of a warning.
    pub(super) fn of(warning: &str) -> Self {
        let sign = SIGNS.iter().find(|(sign, _)| warning.contains(sign));
        sign.map_or(Self::Other, |(_, kind)| *kind)
    }

    /// The name for people.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::BannedWord => "Banned or forbidden word",
            Self::MissingLabel => "Label of generated content missing",
            Self::Ungrounded => "Statement without support in the material",
            Self::MissingWord => "Word that the product asks for missing",
            Self::Length => "Title, body or tags outside of the platform's limits",
            Self::Language => "Answer in another language than the query",
            Self::Cut => "Answer or field was cut",
            Self::Dropped => "Items dropped or merged",
            Self::Search => "Search without a result",
            Self::Plan => "Plan replaced or run to its end",
            Self::Part => "Part left out",
            Self::Tokens => "Tokens not counted right",
            Self::Other => "Other warning",
        }
    }

    /// Whether a person should look at the text before it is published.
    pub(super) const fn is_compliance(self) -> bool {
        matches!(
            self,
            Self::BannedWord
                | Self::MissingLabel
                | Self::Ungrounded
                | Self::MissingWord
                | Self::Length
                | Self::Language
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_the_checks_have_their_kinds() {
        for (warning, kind) in [
            (
                "item 1: `content` holds the banned word `最好` (after one repair)",
                WarningKind::BannedWord,
            ),
            (
                "item 2: `content` does not carry the label `AI生成`",
                WarningKind::MissingLabel,
            ),
            (
                "item 1: `content` states what its material does not have: `80%` (number, character 3)",
                WarningKind::Ungrounded,
            ),
            (
                "`title` counts as 23 characters, at most 20 (…)",
                WarningKind::Length,
            ),
            (
                "the answer is not in the language of the query",
                WarningKind::Language,
            ),
            (
                "no search provider looked up \"x\" (`jina`: timeout)",
                WarningKind::Search,
            ),
            ("something new", WarningKind::Other),
        ] {
            assert_eq!(WarningKind::of(warning), kind, "{warning}");
        }
    }
}
