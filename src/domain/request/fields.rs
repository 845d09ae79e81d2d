//! Reads the fields of an object; an error names the place of the field.

use std::fmt;

use super::tree::{self, KeyValue, Tree};

/// The error in a line, as text for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Complaint(pub(super) String);

impl Complaint {
    fn with_cure(self, cure: &str) -> Self {
        Self(format!("{self} ({cure})"))
    }
}

/// The place of a value in a line; it is formatted only for a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum ValuePlace<'p> {
    Top,
    Key(&'p ValuePlace<'p>, &'p str),
    Index(&'p ValuePlace<'p>, usize),
}

impl fmt::Display for ValuePlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Key(ValuePlace::Top, key) => f.write_str(key),
            Self::Key(outer, key) => write!(f, "{outer}.{key}"),
            Self::Index(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

impl ValuePlace<'_> {
    /// Returns the complaint that the value at this place is of another kind than `expected`.
    pub(super) fn expected(&self, expected: &str, got: &Tree<'_>) -> Complaint {
        Complaint(format!("expected `{self}` to be {expected}, got {}", got.kind()))
    }

    /// Returns the string at this place. It may be any text without NUL, which PostgreSQL cannot store.
    pub(super) fn text<'t>(&self, value: &'t Tree<'_>) -> Result<&'t str, Complaint> {
        match value {
            Tree::Text(text) if text.contains('\0') => Err(Complaint(format!(
                "expected `{self}` without NUL characters, got one (remove it)"
            ))),
            Tree::Text(text) => Ok(text),
            Tree::Number(_) | Tree::Bool(_) => {
                Err(self.expected("a string", value).with_cure("put it in quotes"))
            }
            other => Err(self.expected("a string", other)),
        }
    }
}

/// An object and its place. A key whose value is null counts as absent, because many clients write absence this way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'t, 'a> {
    pub(super) place: ValuePlace<'t>,
    pub(super) entries: &'t [KeyValue<'a>],
}

impl<'t, 'a> Fields<'t, 'a> {
    /// Returns the object at a place.
    pub(super) fn of(place: ValuePlace<'t>, value: &'t Tree<'a>) -> Result<Self, Complaint> {
        match value {
            Tree::Object(entries) => Ok(Self { place, entries }),
            other => Err(place.expected("an object", other)),
        }
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'t Tree<'a>> {
        tree::place_of(self.entries, key)
            .and_then(|place| self.entries.get(place))
            .map(|(_, value)| value)
            .filter(|value| !matches!(value, Tree::Null))
    }

    /// The place of a key.
    pub(super) const fn at<'p>(&'p self, key: &'p str) -> ValuePlace<'p> {
        ValuePlace::Key(&self.place, key)
    }

    /// Returns a string.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'t str>, Complaint> {
        self.get(key).map(|value| self.at(key).text(value)).transpose()
    }

    /// Returns a copy of a string.
    pub(super) fn owned_text(&self, key: &str) -> Result<Option<String>, Complaint> {
        Ok(self.text(key)?.map(str::to_owned))
    }

    /// Returns a boolean.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Complaint> {
        match self.get(key) {
            None => Ok(None),
            Some(Tree::Bool(flag)) => Ok(Some(*flag)),
            Some(other @ Tree::Text(_)) => Err(self
                .at(key)
                .expected("a boolean", other)
                .with_cure("remove the quotes")),
            Some(other) => Err(self.at(key).expected("a boolean", other)),
        }
    }

    /// Returns a list; an absent one is empty.
    pub(super) fn list(&self, key: &str) -> Result<&'t [Tree<'a>], Complaint> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Tree::List(items)) => Ok(items),
            Some(other) => Err(self.at(key).expected("a list", other)),
        }
    }

    /// Returns a list of strings; an absent one is empty.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Complaint> {
        let list = self.at(key);
        self.list(key)?
            .iter()
            .enumerate()
            .map(|(index, item)| Ok(ValuePlace::Index(&list, index).text(item)?.to_owned()))
            .collect()
    }

    /// Returns an object within this one.
    pub(super) fn object<'p>(&'p self, key: &'p str) -> Result<Option<Fields<'p, 'a>>, Complaint> {
        self.get(key)
            .map(|value| Fields::of(self.at(key), value))
            .transpose()
    }
}
