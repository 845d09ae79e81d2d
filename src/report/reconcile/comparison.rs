//! The ledger and an export side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::{ExportCounts, ProviderExport};
use crate::domain::usage::CostSum;
use crate::store::UsageRow;

/// A difference up to this many tokens is none.
const TOKENS: u64 = 1000;

/// A difference up to a cent is none, in picodollars.
const CENT: u128 = 10_000_000_000;

/// A difference up to one part of so many is none: 1 %.
const PART: u32 = 100;

/// The comparison of the ledger with an export.
#[derive(Debug, Default)]
pub struct ExportComparison {
    /// By day and model.
    pub rows: Vec<ComparedRow>,
    /// Models of the ledger that the export does not have.
    pub not_exported: Vec<String>,
    /// Whether tokens were compared.
    pub has_tokens: bool,
    /// Whether costs were compared.
    pub has_cost: bool,
    /// The probable causes of the differences.
    pub causes: Vec<String>,
    /// Remarks on the export for its reader.
    pub notes: Vec<String>,
    /// The columns of the export that were not used.
    pub unknown: Vec<String>,
}

/// A day and a model on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedRow {
    /// The UTC day.
    pub day: String,
    /// The model.
    pub model: String,
    /// The counts of the ledger.
    pub ours: ExportCounts,
    /// The counts of the export.
    pub theirs: ExportCounts,
    /// Whether they differ by more than the tolerance.
    pub differs: bool,
}

/// The side of the ledger, with what explains differences.
#[derive(Debug, Clone, Copy, Default)]
struct OurSide {
    counted: ExportCounts,
    uncertain: CostSum,
    unpriced: u64,
}

impl ExportComparison {
    /// Whether no row differs by more than the tolerance.
    pub fn agrees(&self) -> bool {
        !self.rows.iter().any(|row| row.differs)
    }

    /// Returns the sums of all rows.
    pub fn total(&self) -> (ExportCounts, ExportCounts) {
        let zero = (ExportCounts::default(), ExportCounts::default());
        self.rows.iter().fold(zero, |(ours, theirs), row| {
            (ours.plus(row.ours), theirs.plus(row.theirs))
        })
    }
}

/// Compares the export with rows of the ledger by day and model, of the days of the export. Models that only the ledger
/// has may belong to another provider, so that they are listed and not compared.
pub fn compare(export: ProviderExport, ledger: &[UsageRow]) -> ExportComparison {
    let names = ModelNames::of(export.groups.keys().map(|(_, model)| model.as_str()));
    let mut theirs: BTreeMap<(String, String), ExportCounts> = BTreeMap::new();
    for ((day, model), counted) in export.groups {
        let group = theirs.entry((day, names.common(&model))).or_default();
        *group = group.plus(counted);
    }
    let exported: BTreeSet<String> = theirs.keys().map(|(_, model)| model.clone()).collect();
    let mut ours: BTreeMap<(String, String), OurSide> = BTreeMap::new();
    let mut not_exported = BTreeSet::new();
    for row in ledger {
        let [Some(day), Some(model)] = row.keys.as_slice() else {
            continue;
        };
        let common = names.common(model);
        if !exported.contains(&common) {
            if !model.is_empty() {
                not_exported.insert(model.clone());
            }
            continue;
        }
        ours.entry((day.clone(), common)).or_default().add(row);
    }
    let keys: BTreeSet<(String, String)> = ours.keys().chain(theirs.keys()).cloned().collect();
    let mut comparison = ExportComparison {
        not_exported: not_exported.into_iter().collect(),
        has_tokens: export.has_tokens,
        has_cost: export.has_cost,
        notes: export.notes,
        unknown: export.unknown,
        ..ExportComparison::default()
    };
    for key in keys {
        let side = ours.get(&key).copied().unwrap_or_default();
        let (ours, theirs) = (side.counted, theirs.get(&key).copied().unwrap_or_default());
        let (day, model) = key;
        let differs = comparison.is_different(&ours, &theirs);
        comparison.rows.push(ComparedRow {
            day,
            model,
            ours,
            theirs,
            differs,
        });
    }
    let whole = ours.into_values().fold(OurSide::default(), OurSide::plus);
    comparison.causes = comparison.probable_causes(whole);
    comparison
}

impl ExportComparison {
    fn is_different(&self, ours: &ExportCounts, theirs: &ExportCounts) -> bool {
        let tokens = |one: u64, other: u64| {
            let (less, more) = (one.min(other), one.max(other));
            more - less > TOKENS && more - less > more / u64::from(PART)
        };
        let is_cost = self.has_cost && costs_differ(ours, theirs);
        let are_tokens =
            self.has_tokens && (tokens(ours.input, theirs.input) || tokens(ours.output, theirs.output));
        is_cost || are_tokens
    }

    /// Returns the probable causes of the differences, a line each.
    fn probable_causes(&self, ours: OurSide) -> Vec<String> {
        if self.agrees() {
            return Vec::new();
        }
        let mut causes = Vec::new();
        let mut models: BTreeMap<&str, (ExportCounts, ExportCounts)> = BTreeMap::new();
        for row in &self.rows {
            let sums = models.entry(&row.model).or_default();
            *sums = (sums.0.plus(row.ours), sums.1.plus(row.theirs));
        }
        let model_differs = |row: &ComparedRow| {
            let sums = models.get(row.model.as_str());
            sums.is_some_and(|(ours, theirs)| self.is_different(ours, theirs))
        };
        let differing = || self.rows.iter().filter(|row| row.differs);
        if differing().any(|row| !model_differs(row)) {
            causes.push(
                "the days of a model differ and their sum does not: the provider's days begin in another time zone than UTC"
                    .to_owned(),
            );
        }
        let tokens_only = Self {
            has_tokens: true,
            ..Self::default()
        };
        if self.has_tokens
            && differing().any(|row| {
                costs_differ(&row.ours, &row.theirs) && !tokens_only.is_different(&row.ours, &row.theirs)
            })
        {
            causes.push(
                "tokens agree and costs do not: the provider bills other prices than those in force (see `nova3 config`)"
                    .to_owned(),
            );
        }
        if differing().any(|row| row.theirs.input > row.ours.input || row.theirs.cost > row.ours.cost) {
            causes.push(
                "the provider counts more: other programs or stores make calls on the same account"
                    .to_owned(),
            );
            if ours.uncertain.0 > 0 {
                causes.push(format!(
                    "answers were lost in transit, for which the provider may bill up to ${:.4} more",
                    ours.uncertain.usd()
                ));
            }
            if ours.unpriced > 0 {
                causes.push(format!(
                    "{} calls have no price here, so their cost is missing",
                    ours.unpriced
                ));
            }
        }
        if differing().any(|row| row.ours.input > row.theirs.input || row.ours.cost > row.theirs.cost) {
            causes.push(
                "the store counts more: the export ends early, or calls went to another account or provider"
                    .to_owned(),
            );
        }
        causes
    }
}

fn costs_differ(ours: &ExportCounts, theirs: &ExportCounts) -> bool {
    let (less, more) = (ours.cost.min(theirs.cost), ours.cost.max(theirs.cost));
    let difference = more.0 - less.0;
    difference > CENT && difference > more.0 / u128::from(PART)
}

impl OurSide {
    fn add(&mut self, row: &UsageRow) {
        let sums = row.sums;
        let counted = ExportCounts {
            requests: sums.calls,
            input: sums.usage.input_tokens,
            cached: sums.usage.cached_input_tokens,
            output: sums.usage.output_tokens,
            cost: sums.cost,
        };
        *self = self.plus(Self {
            counted,
            uncertain: sums.uncertain,
            unpriced: sums.unpriced,
        });
    }

    fn plus(self, other: Self) -> Self {
        Self {
            counted: self.counted.plus(other.counted),
            uncertain: self.uncertain.plus(other.uncertain),
            unpriced: self.unpriced.saturating_add(other.unpriced),
        }
    }
}

/// The names under which both sides are compared.
struct ModelNames {
    /// The names without a date that several names of the export share.
    shared: BTreeSet<String>,
}

impl ModelNames {
    fn of<'a>(exported: impl Iterator<Item = &'a str>) -> Self {
        let mut by_base: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in exported {
            let name = name.to_lowercase();
            by_base
                .entry(without_date(&name).to_owned())
                .or_default()
                .insert(name);
        }
        by_base.retain(|_, names| names.len() > 1);
        Self {
            shared: by_base.into_keys().collect(),
        }
    }

    /// Returns the name without its date, unless the export has several names that differ only in it.
    fn common(&self, name: &str) -> String {
        let name = name.to_lowercase();
        let base = without_date(&name);
        if self.shared.contains(base) {
            name
        } else {
            base.to_owned()
        }
    }
}

/// Returns the name without a date at its end: `-2026-01-31`, `-20260131` or `-260131`.
fn without_date(name: &str) -> &str {
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((begin, last)) = name.rsplit_once(['-', '@']) else {
        return name;
    };
    if matches!(last.len(), 6 | 8) && are_digits(last) {
        return begin;
    }
    let mut parts = name.rsplitn(4, '-');
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let is =
        |part: Option<&str>, digits: usize| part.is_some_and(|part| part.len() == digits && are_digits(part));
    match parts.next() {
        Some(begin) if is(day, 2) && is(month, 2) && is(year, 4) => begin,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_no_part_of_a_name() {
        for (name, base) in [
            ("gpt-5-mini-2026-01-01", "gpt-5-mini"),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("doubao-seed-2-0-lite-260215", "doubao-seed-2-0-lite"),
            ("gpt-4.1", "gpt-4.1"),
            ("deepseek-v4-pro", "deepseek-v4-pro"),
            ("llama-3-70", "llama-3-70"),
            ("", ""),
        ] {
            assert_eq!(without_date(name), base, "{name}");
        }
    }

    #[test]
    fn names_that_differ_in_their_date_alone_stay_apart() {
        let one = ModelNames::of(["gpt-5-mini-2026-01-01"].into_iter());
        assert_eq!(one.common("GPT-5-mini"), "gpt-5-mini");
        assert_eq!(one.common("gpt-5-mini-2026-01-01"), "gpt-5-mini");
        let two = ModelNames::of(["gpt-5-mini-2026-01-01", "gpt-5-mini-2026-06-01"].into_iter());
        assert_eq!(two.common("gpt-5-mini-2026-06-01"), "gpt-5-mini-2026-06-01");
    }
}
