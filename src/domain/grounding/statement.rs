//! The statements that rules find in a piece, in a form that can be compared.

use super::FindingKind;
use super::units::Measure;

/// A statement in a piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// The index of its first character in the piece.
    pub(super) start: usize,
    /// The index behind its last character.
    pub(super) end: usize,
    pub(super) content: Content,
    pub(super) need: Need,
}

/// Whether a finished text may make a statement only if the material makes it. Material grounds texts by all its
/// statements, whatever their need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    Always,
    /// A small count of everyday things: only if the material counts the same things, named by their noun.
    IfCounted(String),
    Never,
}

impl Need {
    pub(super) const fn always_if(stated: bool) -> Self {
        if stated { Self::Always } else { Self::Never }
    }
}

/// The content of a statement, without the form in which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Quantity(Quantity),
    Date(CalendarDate),
    /// The name of an institution, a report or a person of authority, folded.
    Named(String),
    /// An appeal to authority without a name.
    Unnamed(Authority),
    /// Something that is not in a product: 零添加, `zero sugar`. The text is its name.
    Absent(String),
    /// The words of a superlative, or the name of its group.
    Superlative(String),
    Comparison(Comparison),
}

impl Content {
    pub(super) const fn kind(&self) -> FindingKind {
        match self {
            Self::Quantity(quantity) if quantity.measure.is_price() => FindingKind::Price,
            Self::Quantity(_) | Self::Absent(_) => FindingKind::Number,
            Self::Date(_) => FindingKind::Date,
            Self::Named(_) | Self::Unnamed(_) => FindingKind::Institution,
            Self::Superlative(_) => FindingKind::Superlative,
            Self::Comparison(_) => FindingKind::Comparison,
        }
    }
}

/// The sort of an authority without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Authority {
    /// 研究表明, `studies show`.
    Studies,
    /// 专家建议, `doctors recommend`.
    Experts,
    /// 检测报告, 权威认证.
    Tests,
    /// 临床验证, `clinically proven`.
    Trials,
}

/// One value, or the two ends of a range, with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) values: Vec<Value>,
    pub(super) measure: Measure,
    pub(super) bound: Bound,
}

/// A value in the base unit of its measure, and as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) base: i128,
    pub(super) written: i128,
}

/// How a text limits a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Exactly,
    /// 近八成, about a third.
    About,
    /// 超过八成, 3000多, more than 80%.
    AtLeast,
    /// 不到八成, less than $100.
    AtMost,
    /// 几百万: up to ten times the value.
    Order,
    /// A fraction, which a rounded percentage equals.
    Fraction,
}

/// A date, with the parts that are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CalendarDate {
    pub(super) year: Option<u16>,
    pub(super) month: Option<u8>,
    pub(super) day: Option<u8>,
}

/// A comparison with something: better than X.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    /// The beginning of the other thing's name.
    pub(super) other: String,
    /// The group of the quality in which they are compared.
    pub(super) quality: String,
}
