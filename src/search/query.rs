//! A search query, and the key that equal queries share.

use reqwest::Url;

use super::clean;
use crate::config::MOST_PAGES;
use crate::domain::folding::narrow;
use crate::domain::request::Digest;

/// The most characters of a query. A longer query is cut, because no provider accepts more.
const LONGEST: usize = 400;

/// The most results of one search.
const MOST_RESULTS: usize = 50;

/// The words to search for, and the number of wanted results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: String,
    limit: usize,
    pages: usize,
}

/// The key of all equal queries. It does not depend on the provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryKey(String);

impl Query {
    /// Returns a query of one line and bounded length, for 1 to 50 results. Returns `None` if the text has no word.
    pub fn new(text: &str, limit: usize) -> Option<Self> {
        let text = clean::line(text, LONGEST);
        (!text.is_empty()).then(|| Self {
            text,
            limit: limit.clamp(1, MOST_RESULTS),
            pages: 0,
        })
    }

    /// Returns the query of a reader: the address of a page.
    pub(super) fn address(page: &Url) -> Self {
        Self {
            text: page.as_str().to_owned(),
            limit: 1,
            pages: 0,
        }
    }

    /// Returns the query with this number of pages to read, beginning with the first result.
    #[must_use]
    pub fn with_pages(self, pages: usize) -> Self {
        let pages = pages.min(MOST_PAGES);
        Self { pages, ..self }
    }

    /// The number of pages to read.
    pub const fn pages(&self) -> usize {
        self.pages
    }

    /// The words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of wanted results.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the key. Queries that differ only in case, character width or white space have the same key.
    pub fn key(&self) -> QueryKey {
        let folded: String = self
            .text
            .chars()
            .map(narrow)
            .flat_map(char::to_lowercase)
            .collect();
        let words: Vec<&str> = folded.split_whitespace().collect();
        let key = format!("{}\n{}\n{}", words.join(" "), self.limit, self.pages);
        QueryKey(Digest::of(key.as_bytes()).hex())
    }
}

impl QueryKey {
    /// The key as text, for a store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> QueryKey {
        Query::new(text, 5).unwrap().key()
    }

    #[test]
    fn equal_queries_have_one_key() {
        for same in ["  Oat  Milk ", "oat\tmilk", "ＯＡＴ　milk", "oat\u{200b} milk"] {
            assert_eq!(key(same), key("oat milk"), "{same:?}");
        }
        assert_ne!(key("oatmilk"), key("oat milk"));
        assert_ne!(
            Query::new("oat milk", 5).unwrap().with_pages(1).key(),
            key("oat milk")
        );
        assert_ne!(
            Query::new("oat milk", 6).unwrap().key(),
            Query::new("oat milk", 5).unwrap().key()
        );
    }

    #[test]
    fn a_query_is_bounded() {
        assert_eq!(Query::new(" \n\u{7}", 5), None);
        let long = Query::new(&"燕".repeat(5000), 500).unwrap();
        assert_eq!(
            (long.text().chars().count(), long.limit()),
            (LONGEST, MOST_RESULTS)
        );
    }
}
