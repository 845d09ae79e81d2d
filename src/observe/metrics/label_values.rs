//! The values of labels, each from a bounded set.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The most values of a label. Later ones become [`OTHER`].
pub(super) const MOST_VALUES: usize = 100;

/// The value of everything that no setting names, and of values above the bound.
const OTHER: &str = "other";

/// The value without a text.
const NONE: &str = "none";

/// The set that a label's values are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelDomain {
    /// The actions of agents.
    Agent,
    /// The models of routes.
    Model,
    /// The names of routes.
    Route,
    /// The links of search chains.
    Provider,
    /// Words of the program, such as error classes.
    Word,
}

/// The names that the settings give: the only values of the labels of these kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelNames {
    /// The actions of agents.
    pub agents: Vec<String>,
    /// The models of routes.
    pub models: Vec<String>,
    /// The names of routes.
    pub routes: Vec<String>,
    /// The links of search chains.
    pub providers: Vec<String>,
}

/// The number of a value in its set.
pub(super) type ValueId = u16;

/// The number of [`OTHER`] in every set.
pub(super) const OTHER_ID: ValueId = 0;

/// The values of all labels, by set.
#[derive(Debug)]
pub(super) struct LabelValues([ValueSet; 5]);

#[derive(Debug)]
struct ValueSet {
    /// Whether the set takes new values.
    is_open: bool,
    known: RwLock<KnownValues>,
}

#[derive(Debug, Default)]
struct KnownValues {
    ids: HashMap<Arc<str>, ValueId>,
    texts: Vec<Arc<str>>,
}

impl LabelValues {
    pub(super) fn new(names: &LabelNames) -> Self {
        let closed = |names: &[String]| ValueSet::new(names, false);
        Self([
            closed(&names.agents),
            closed(&names.models),
            closed(&names.routes),
            closed(&names.providers),
            ValueSet::new(&[], true),
        ])
    }

    /// The number of a value. An empty value is `none`, and an unknown one is `other`.
    pub(super) fn id(&self, domain: LabelDomain, value: &str) -> ValueId {
        let value = if value.is_empty() { NONE } else { value };
        self.set(domain).id(value)
    }

    /// The text of a number that [`Self::id`] returned.
    pub(super) fn text(&self, domain: LabelDomain, id: ValueId) -> Arc<str> {
        let known = self
            .set(domain)
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let text = known.texts.get(usize::from(id));
        text.map_or_else(|| OTHER.into(), Arc::clone)
    }

    const fn set(&self, domain: LabelDomain) -> &ValueSet {
        &self.0[domain as usize]
    }
}

impl ValueSet {
    fn new(names: &[String], is_open: bool) -> Self {
        let mut known = KnownValues::default();
        let names = names.iter().map(String::as_str);
        for name in [OTHER, NONE].into_iter().chain(names) {
            known.add(name);
        }
        Self {
            is_open,
            known: RwLock::new(known),
        }
    }

    fn id(&self, value: &str) -> ValueId {
        let found = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.ids.get(value).copied()
        };
        match found {
            Some(id) => id,
            None if self.is_open => self
                .known
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .add(value),
            None => OTHER_ID,
        }
    }
}

impl KnownValues {
    /// Adds a value, unless the set is full.
    fn add(&mut self, value: &str) -> ValueId {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        let Ok(id) = ValueId::try_from(self.texts.len()) else {
            return OTHER_ID;
        };
        if self.texts.len() >= MOST_VALUES {
            return OTHER_ID;
        }
        let value: Arc<str> = value.into();
        self.texts.push(Arc::clone(&value));
        self.ids.insert(value, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(values: &LabelValues, domain: LabelDomain, value: &str) -> String {
        values.text(domain, values.id(domain, value)).to_string()
    }

    #[test]
    fn names_of_the_settings_are_values_and_all_others_are_one() {
        let values = LabelValues::new(&LabelNames {
            models: vec!["m".to_owned()],
            ..LabelNames::default()
        });
        let shown = ["m", "", "x", "other"].map(|model| value(&values, LabelDomain::Model, model));
        assert_eq!(shown, ["m", "none", "other", "other"]);
        assert_eq!(value(&values, LabelDomain::Route, "m"), "other");
    }

    #[test]
    fn no_label_has_more_than_a_hundred_values() {
        let names: Vec<String> = (0..1000).map(|number| format!("m{number}")).collect();
        let values = LabelValues::new(&LabelNames {
            models: names.clone(),
            ..LabelNames::default()
        });
        for domain in [LabelDomain::Model, LabelDomain::Word] {
            let mut shown: Vec<String> = names.iter().map(|name| value(&values, domain, name)).collect();
            shown.sort_unstable();
            shown.dedup();
            assert_eq!(shown.len(), MOST_VALUES - 1, "`none` is a value too");
        }
    }
}
