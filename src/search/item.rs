//! One result of a search, cleaned and bounded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pointer::Pointers;
use super::provider::ItemRules;
use super::{clean, published, secrets, template};
use crate::domain::request::Digest;

/// The most characters of a title.
const TITLE: usize = 200;

/// The most characters of a title that is taken from the text.
const TITLE_OF_TEXT: usize = 60;

/// The most characters of a text: about 2,500 tokens of Chinese.
const TEXT: usize = 4_000;

/// The most bytes of an address. A longer address is dropped.
pub(super) const ADDRESS: usize = 2_000;

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchItem {
    /// Its id among the items of its search: `s1`, `s2`, …
    pub id: String,
    /// Its title. If the provider gives none, the title is the beginning of the text.
    pub title: String,
    /// Its address, without user, password and secret parameters.
    pub url: Option<String>,
    /// Its text, without markup.
    pub text: String,
    /// The time of publication, as a date or in RFC 3339.
    pub published_at: Option<String>,
    /// The SHA-256 of the text. It shows whether the text has changed.
    pub hash: String,
}

impl SearchItem {
    /// Returns the cleaned item, or `None` if neither title nor text is left.
    pub(super) fn new(title: &str, url: Option<&str>, text: &str, time: Option<&str>) -> Option<Self> {
        let text = clean::text(text, TEXT);
        let mut title = clean::title(title, TITLE);
        if title.is_empty() {
            title = clean::line(&text, TITLE_OF_TEXT);
        }
        if title.is_empty() {
            return None;
        }
        Some(Self {
            id: String::new(),
            title,
            url: url.filter(|url| url.len() <= ADDRESS).and_then(secrets::shown),
            hash: Digest::of(text.as_bytes()).hex(),
            text,
            published_at: time.and_then(published::published),
        })
    }

    /// Replaces the text by that of its page, if it is longer. Returns whether it is.
    pub(super) fn extend_to(&mut self, page: &str) -> bool {
        let text = clean::text(page, TEXT);
        let is_longer = text.chars().count() > self.text.chars().count();
        if is_longer {
            self.hash = Digest::of(text.as_bytes()).hex();
            self.text = text;
        }
        is_longer
    }
}

/// Returns the items of an answer: at most `most`, without duplicates, numbered.
pub(super) fn items(rules: &ItemRules, found: &[Value], most: usize) -> Vec<SearchItem> {
    numbered(found.iter().filter_map(|value| item(rules, value)), most)
}

/// Returns the first `most` distinct items, numbered.
pub(super) fn numbered(items: impl Iterator<Item = SearchItem>, most: usize) -> Vec<SearchItem> {
    let mut kept: Vec<SearchItem> = Vec::new();
    for mut item in items {
        if kept.len() == most {
            break;
        }
        let known = |other: &SearchItem| {
            (item.url.is_some() && item.url == other.url)
                || (item.hash == other.hash && item.title == other.title)
        };
        if kept.iter().any(known) {
            continue;
        }
        item.id = format!("s{}", kept.len() + 1);
        kept.push(item);
    }
    kept
}

fn item(rules: &ItemRules, value: &Value) -> Option<SearchItem> {
    let text = |pointers: &Pointers| pointers.text(value).unwrap_or_default();
    let id = rules.id.text(value).map(|id| clean::line(&id, TITLE));
    let linked = || {
        let (link, id) = (rules.link.as_deref()?, id.as_deref()?);
        template::address(link, &[("id", id)]).ok()
    };
    let url = rules
        .url
        .text(value)
        .filter(|url| secrets::shown(url).is_some())
        .or_else(linked);
    SearchItem::new(
        &text(&rules.title),
        url.as_deref(),
        &text(&rules.text),
        rules.time.text(value).as_deref(),
    )
}
