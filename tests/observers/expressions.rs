//! The metrics and labels that a `PromQL` expression names.

use std::collections::{BTreeMap, BTreeSet};

/// The labels that a scraper adds.
const OF_SCRAPER: [&str; 2] = ["instance", "job"];

/// The labels of each metric.
pub(super) type Labels = BTreeMap<String, BTreeSet<String>>;

/// The faults of an expression: metrics that do not exist, and labels that its metrics do not have.
pub(super) fn faults(expression: &str, known: &Labels) -> Vec<String> {
    let mut faults = Vec::new();
    let mut labels: BTreeSet<&str> = OF_SCRAPER.into();
    for (at, name) in metrics(expression) {
        let Some(own) = known.get(name) else {
            faults.push(format!("there is no metric `{name}`"));
            continue;
        };
        let own: BTreeSet<&str> = own.iter().map(String::as_str).chain(OF_SCRAPER).collect();
        for label in selected(&expression[at + name.len()..]) {
            if !own.contains(label) {
                faults.push(format!("`{name}` has no label `{label}`"));
            }
        }
        labels.extend(own);
    }
    for label in grouped(expression) {
        if !labels.contains(label) {
            faults.push(format!("no metric of the expression has the label `{label}`"));
        }
    }
    faults
}

/// The labels that the text of an annotation names.
pub(super) fn annotated(text: &str) -> impl Iterator<Item = &str> {
    text.split("$labels.").skip(1).map(word)
}

/// The labels that may be in the result of an expression: those that it is grouped by, or else those of its metrics.
pub(super) fn resulting<'e>(expression: &'e str, known: &'e Labels) -> BTreeSet<&'e str> {
    let grouped: BTreeSet<&str> = lists(expression, "by").collect();
    if !grouped.is_empty() {
        return grouped;
    }
    let of_metrics = metrics(expression).filter_map(|(_, name)| known.get(name));
    of_metrics
        .flatten()
        .map(String::as_str)
        .chain(OF_SCRAPER)
        .collect()
}

/// The metrics of nova3, each with its place.
pub(super) fn metrics(expression: &str) -> impl Iterator<Item = (usize, &str)> {
    let found = expression.match_indices("nova3_");
    found.map(|(at, _)| (at, word(&expression[at..])))
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The labels of a selector, if the text begins with one.
fn selected(text: &str) -> Vec<&str> {
    let Some(text) = text.strip_prefix('{') else {
        return Vec::new();
    };
    let selector = text.split_once('}').map_or(text, |(selector, _)| selector);
    let mut labels = Vec::new();
    let mut rest = selector;
    while !rest.is_empty() {
        let label = word(rest.trim_start_matches([',', ' ']));
        labels.push(label);
        // A value is between quotes, and may contain any other character.
        rest = rest.splitn(3, '"').nth(2).unwrap_or_default();
    }
    labels
}

fn grouped(expression: &str) -> impl Iterator<Item = &str> {
    ["by", "on", "without", "ignoring", "group_left", "group_right"]
        .into_iter()
        .flat_map(|keyword| lists(expression, keyword))
}

/// The labels in the parentheses behind a keyword.
fn lists<'e>(expression: &'e str, keyword: &'e str) -> impl Iterator<Item = &'e str> {
    let behind = expression.match_indices(keyword).filter_map(move |(at, _)| {
        let begins = !expression[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let list = expression[at + keyword.len()..].trim_start().strip_prefix('(')?;
        begins.then(|| list.split(')').next())?
    });
    behind.flat_map(|list| list.split(',').map(str::trim).filter(|label| !label.is_empty()))
}

#[test]
fn wrong_names_and_labels_are_found() {
    let known: Labels = [("nova3_a_total", &["x"][..]), ("nova3_b", &[])]
        .map(|(name, labels)| {
            (
                name.to_owned(),
                labels.iter().map(|label| (*label).to_owned()).collect(),
            )
        })
        .into();
    for good in [
        "sum by (x) (rate(nova3_a_total{x!=\"1,y=\",instance=~\".*\"}[5m])) / on () group_left () nova3_b",
        "nova3_b and on (instance, job) nova3_b",
    ] {
        assert_eq!(faults(good, &known), Vec::<String>::new());
    }
    for bad in [
        "nova3_c",
        "nova3_a",
        "nova3_b{x=\"1\"}",
        "nova3_a_total{x=\"1\", y=\"2\"}",
        "sum by (y) (nova3_a_total)",
        "nova3_b * on(x) nova3_b",
    ] {
        assert_eq!(faults(bad, &known).len(), 1, "{bad}");
    }
    assert_eq!(resulting("sum by (x) (nova3_a_total)", &known), ["x"].into());
    assert_eq!(
        resulting("nova3_a_total", &known),
        ["instance", "job", "x"].into()
    );
    assert_eq!(
        annotated("a {{ $labels.x }} b {{ $labels.y }}").collect::<Vec<_>>(),
        ["x", "y"]
    );
}
