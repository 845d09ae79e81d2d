//! Grounding: the statements of a finished text that need a source must stand in its material.
//!
//! Statements are numbers with their units, prices, percentages, dates, names of institutions and reports, superlatives
//! and comparisons, in Chinese and English. They are compared by value and not by form: 八成, 80% and `eighty percent`
//! are one statement. `docs/quality.md` describes the rules and has their measured quality.
//!
//! The rules are fixed lists and patterns. They never call a model, read each character a bounded number of times, and
//! accept any text.

mod comparisons;
mod counts;
mod dates;
mod evidence;
mod exempt;
mod institutions;
mod lexicon;
mod numerals;
mod piece;
mod quantities;
mod scan;
mod special;
mod statement;
mod superlatives;
mod units;

use self::evidence::{Evidence, LookedUp};
use self::scan::statements;

/// The most findings of one text: a model mends no more in one repair, and a warning names no more.
pub const MOST_FINDINGS: usize = 20;

/// The longest word of a finding, in characters.
const LONGEST_WORD: usize = 60;

/// A statement of a text that does not stand in the material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The words of the statement as they stand in the text, at most 60 characters.
    pub word: String,
    /// The offset of the first character in the text.
    pub start: usize,
    /// The sort of the statement.
    pub kind: FindingKind,
}

/// The sorts of statements that need a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A number with or without a unit, a percentage, a duration.
    Number,
    /// An amount of money or a discount.
    Price,
    /// A year, a month or a day of the calendar.
    Date,
    /// An institution, a report, or an appeal to studies.
    Institution,
    /// A rank or an extreme: the best, the only one.
    Superlative,
    /// A comparison with another thing.
    Comparison,
}

impl FindingKind {
    /// Returns the name that messages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Price => "price",
            Self::Date => "date",
            Self::Institution => "institution",
            Self::Superlative => "superlative",
            Self::Comparison => "comparison",
        }
    }
}

/// The material of texts, in a form that is searched. It is built once for several texts.
#[derive(Debug, Default)]
pub struct Grounds {
    evidence: Evidence,
}

impl Grounds {
    /// Reads the statements of all parts of the material.
    pub fn of<'a>(material: impl IntoIterator<Item = &'a str>) -> Self {
        let mut evidence = Evidence::default();
        for part in material {
            evidence.add(part);
        }
        Self { evidence }
    }

    /// Returns the statements of `text` that need a source and do not stand in the material, in their order, at most
    /// [`MOST_FINDINGS`].
    pub fn missing_from(&self, text: &str) -> Vec<Finding> {
        let mut names = LookedUp::new();
        let missing = statements(text).filter(|(_, statement)| {
            self.evidence.asks_for(statement) && !self.evidence.grounds(&statement.content, &mut names)
        });
        missing
            .map(|(piece, statement)| Finding {
                word: piece
                    .written_text(statement.start, statement.end)
                    .chars()
                    .take(LONGEST_WORD)
                    .collect(),
                start: piece.start + statement.start,
                kind: statement.content.kind(),
            })
            .take(MOST_FINDINGS)
            .collect()
    }
}
