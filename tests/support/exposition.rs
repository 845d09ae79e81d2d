//! Metrics in Prometheus's text format, as the tests read them.

use std::collections::{BTreeMap, BTreeSet};

/// The metrics of one text.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// The type of each metric, by name.
    pub(crate) types: BTreeMap<String, String>,
    /// The help of each metric, by name.
    pub(crate) help: BTreeMap<String, String>,
    /// The series.
    pub(crate) samples: Vec<Sample>,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Exposition {
    /// Reads a text. Fails the test if the text breaks the format.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the text ends with a line end");
        let mut read = Self::default();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (first, rest) = line.split_once(' ').expect("a line has two parts");
            match (first, rest.split_once(' ')) {
                ("#", Some(("TYPE", rest))) => read.note(rest, true),
                ("#", Some(("HELP", rest))) => read.note(rest, false),
                ("#", _) => {}
                _ => {
                    let (series, value) = line.rsplit_once(' ').expect("a series has a value");
                    assert!(seen.insert(series.to_owned()), "{series} is there twice");
                    let value = value.parse().expect("a value is a number");
                    read.samples.push(sample(series, value));
                }
            }
        }
        read
    }

    fn note(&mut self, rest: &str, is_type: bool) {
        let (name, text) = rest.split_once(' ').expect("a name and a text");
        let notes = if is_type { &mut self.types } else { &mut self.help };
        let before = notes.insert(name.to_owned(), text.to_owned());
        assert_eq!(before, None, "{name} is described twice");
    }

    /// The value of the series with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: BTreeMap<String, String> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = self.of(name).find(|sample| sample.labels == labels);
        found.map(|sample| sample.value)
    }

    /// The sum of all series of a metric; `None` without a series.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        self.of(name)
            .map(|sample| sample.value)
            .reduce(|sum, value| sum + value)
    }

    /// The series of a metric.
    pub(crate) fn of<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The values of a label in all series of a metric.
    pub(crate) fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.of(name)
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect()
    }

    /// The label names of each metric, histograms by each of their series.
    pub(crate) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sample in &self.samples {
            let known = labels.entry(sample.name.clone()).or_default();
            known.extend(sample.labels.keys().cloned());
        }
        labels
    }
}

fn sample(series: &str, value: f64) -> Sample {
    let Some((name, labels)) = series.split_once('{') else {
        return Sample {
            name: series.to_owned(),
            labels: BTreeMap::new(),
            value,
        };
    };
    let labels = labels.strip_suffix('}').expect("labels end with a brace");
    // The label values of tests contain no escaped character.
    assert!(!labels.contains('\\'), "{labels}");
    let label = |label: &str| {
        let (name, value) = label.split_once('=').expect("a label has a value");
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    Sample {
        name: name.to_owned(),
        labels: labels
            .split(',')
            .filter(|part| !part.is_empty())
            .map(label)
            .collect(),
        value,
    }
}
