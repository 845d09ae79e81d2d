//! The keys that a line may have, and the handling of unknown keys.

use super::Form;
use super::action;
use super::fields::{Complaint, ValuePlace};
use super::tree::{self, KeyValue, Tree};
use crate::domain::ids::shortened;

const BESIDE: &[&str] = &[
    "custom_id",
    "user_id",
    "session_id",
    "tasks",
    "model",
    "until",
    "priority",
    "metadata",
];
const ENVELOPE: &[&str] = &["request_data"];
const BATCH: &[&str] = &["method", "url", "body"];
const BRIEF: &[&str] = &[
    "query",
    "interaction_type",
    "background",
    "interaction_context",
    "row",
    "nova3_selections",
    "references",
    "auto",
    "user_selections",
    "file_ids",
];
const BACKGROUND: &[&str] = &[
    "account_name",
    "platform",
    "target_audience",
    "industry",
    "brand_style",
    "previous_content",
    "product",
];
const PRODUCT: &[&str] = &["name", "points", "price", "proof", "must_say", "must_not_say"];
const SELECTION: &[&str] = &["id", "title", "content", "selected", "user_comment"];
const TASK: &[&str] = &["action", "input", "description"];

/// An unknown key, taken out of its object.
#[derive(Debug)]
pub(super) struct Stray<'a> {
    /// The path of its object; empty at the top level.
    object: String,
    key: String,
    pub(super) value: Tree<'a>,
}

impl Stray<'_> {
    /// The path of the key, under which it moves to `metadata`.
    pub(super) fn path(&self) -> String {
        if self.object.is_empty() {
            self.key.clone()
        } else {
            format!("{}.{}", self.object, self.key)
        }
    }

    /// The key and its place, for a message.
    pub(super) fn named(&self) -> String {
        let key = shortened(&self.key, 60);
        if self.object.is_empty() {
            format!("`{key}` at the top level")
        } else {
            format!("`{key}` in `{}`", self.object)
        }
    }
}

/// Checks that no object of the line has a key twice, which JSON readers resolve differently. The contents of `body`
/// and `metadata` are not checked: they are passed on as they stand.
pub(super) fn check_once(entries: &[KeyValue<'_>], place: ValuePlace<'_>) -> Result<(), Complaint> {
    for pair in entries.windows(2) {
        if let [(key, _), (next, _)] = pair
            && key == next
        {
            let key = shortened(key, 60);
            let place = match place {
                ValuePlace::Top => "at the top level".to_owned(),
                inner => format!("in `{}`", shortened(&inner.to_string(), 200)),
            };
            return Err(Complaint(format!(
                "expected each key once, got `{key}` twice {place} (remove one)"
            )));
        }
    }
    entries
        .iter()
        .try_for_each(|(key, value)| check_value(value, ValuePlace::Key(&place, key)))
}

fn check_value(value: &Tree<'_>, place: ValuePlace<'_>) -> Result<(), Complaint> {
    match value {
        Tree::Object(entries) => check_once(entries, place),
        Tree::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check_value(item, ValuePlace::Index(&place, index))),
        _ => Ok(()),
    }
}

/// Takes every unknown key out of a line.
pub(super) fn sift<'a>(entries: &mut Vec<KeyValue<'a>>, form: Form) -> Vec<Stray<'a>> {
    let mut strays = Vec::new();
    let own = match form {
        Form::Envelope => ENVELOPE,
        Form::Batch => BATCH,
        Form::Flat => BRIEF,
    };
    let is_known = |key: &str| BESIDE.contains(&key) || own.contains(&key);
    take(entries, is_known, &ValuePlace::Top, &mut strays);
    each_object(entries, "tasks", &ValuePlace::Top, TASK, &mut strays);
    match form {
        Form::Batch => {}
        Form::Flat => sift_brief(entries, &ValuePlace::Top, &mut strays),
        Form::Envelope => {
            if let Some(Tree::Object(brief)) = value_of(entries, "request_data") {
                let place = ValuePlace::Key(&ValuePlace::Top, "request_data");
                take(brief, |key| BRIEF.contains(&key), &place, &mut strays);
                sift_brief(brief, &place, &mut strays);
            }
        }
    }
    strays
}

/// Returns the complaint about unknown keys.
pub(super) fn unknown(strays: &[Stray<'_>]) -> Complaint {
    /// More keys would make the message harder to read, not more useful.
    const NAMED: usize = 5;
    let named = strays
        .iter()
        .take(NAMED)
        .map(Stray::named)
        .collect::<Vec<_>>()
        .join(", ");
    let more = match strays.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (keys, them) = if strays.len() == 1 {
        ("key", "it")
    } else {
        ("keys", "them")
    };
    Complaint(format!(
        "expected known keys only, got the unknown {keys} {named}{more} (remove {them}, or use `--lenient` to move {them} to `metadata`)"
    ))
}

fn sift_brief<'a>(brief: &mut [KeyValue<'a>], place: &ValuePlace<'_>, strays: &mut Vec<Stray<'a>>) {
    if let Some(Tree::Object(background)) = value_of(brief, "background") {
        let place = ValuePlace::Key(place, "background");
        take(background, |key| BACKGROUND.contains(&key), &place, strays);
        if let Some(Tree::Object(product)) = value_of(background, "product") {
            let place = ValuePlace::Key(&place, "product");
            take(product, |key| PRODUCT.contains(&key), &place, strays);
        }
    }
    if let Some(Tree::Object(selections)) = value_of(brief, "nova3_selections") {
        let place = ValuePlace::Key(place, "nova3_selections");
        let lists: Vec<String> = selections
            .iter()
            .map(|(key, _)| key.to_string())
            .filter(|key| action::is_selection_list(key))
            .collect();
        let is_known = |key: &str| key == "task_context" || action::is_selection_list(key);
        take(selections, is_known, &place, strays);
        for list in &lists {
            each_object(selections, list, &place, SELECTION, strays);
        }
    }
}

fn each_object<'a>(
    entries: &mut [KeyValue<'a>],
    list: &str,
    place: &ValuePlace<'_>,
    known: &[&str],
    strays: &mut Vec<Stray<'a>>,
) {
    let Some(Tree::List(items)) = value_of(entries, list) else {
        return;
    };
    let place = ValuePlace::Key(place, list);
    for (index, item) in items.iter_mut().enumerate() {
        if let Tree::Object(entries) = item {
            let place = ValuePlace::Index(&place, index);
            take(entries, |key| known.contains(&key), &place, strays);
        }
    }
}

fn value_of<'e, 'a>(entries: &'e mut [KeyValue<'a>], key: &str) -> Option<&'e mut Tree<'a>> {
    let place = tree::place_of(entries, key)?;
    entries.get_mut(place).map(|(_, value)| value)
}

fn take<'a>(
    entries: &mut Vec<KeyValue<'a>>,
    is_known: impl Fn(&str) -> bool,
    place: &ValuePlace<'_>,
    strays: &mut Vec<Stray<'a>>,
) {
    strays.extend(
        entries
            .extract_if(.., |(key, _)| !is_known(key))
            .map(|(key, value)| Stray {
                object: place.to_string(),
                key: key.into_owned(),
                value,
            }),
    );
}
