//! The answers of the link `default`: material from a list. No provider looks it up.

use serde::Deserialize;

use super::item::{self, SearchItem};
use super::provider_file::{ProviderError, ProviderSource};
use super::query::Query;

/// The list of default material.
#[derive(Debug, Default)]
pub(super) struct DefaultMaterial(Vec<MaterialEntry>);

#[derive(Debug)]
struct MaterialEntry {
    /// The entry fits a query that contains one of these words. An entry without words is used when no other entry
    /// fits.
    words: Vec<String>,
    item: SearchItem,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaterial {
    #[serde(default)]
    material: Vec<RawMaterialEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaterialEntry {
    #[serde(default)]
    words: Vec<String>,
    title: toml::Spanned<String>,
    text: String,
}

impl DefaultMaterial {
    /// Reads the list of a file.
    pub(super) fn read(source: &ProviderSource) -> Result<Self, ProviderError> {
        let raw: RawMaterial = toml::from_str(&source.text).map_err(|error| source.not_toml(&error))?;
        let entry = |raw: RawMaterialEntry| {
            let item = SearchItem::new(raw.title.get_ref(), None, &raw.text, None);
            let item = item.ok_or_else(|| {
                let reason = "`material` has neither title nor text: expected one of them";
                source.problem(raw.title.span().start, reason)
            })?;
            let words = raw.words.iter().map(|word| word.trim().to_lowercase());
            Ok(MaterialEntry {
                words: words.filter(|word| !word.is_empty()).collect(),
                item,
            })
        };
        Ok(Self(
            raw.material.into_iter().map(entry).collect::<Result<_, _>>()?,
        ))
    }

    /// Returns the entries that fit a query. Returns the entries without words if none fits.
    pub(super) fn items(&self, query: &Query) -> Vec<SearchItem> {
        let text = query.text().to_lowercase();
        let fits = |entry: &&MaterialEntry| entry.words.iter().any(|word| text.contains(word));
        let mut found: Vec<&MaterialEntry> = self.0.iter().filter(fits).collect();
        if found.is_empty() {
            found = self.0.iter().filter(|entry| entry.words.is_empty()).collect();
        }
        item::numbered(found.into_iter().map(|entry| entry.item.clone()), query.limit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DefaultMaterial, String> {
        let source = ProviderSource {
            file: "material.toml".into(),
            text: text.to_owned(),
            embedded: false,
        };
        DefaultMaterial::read(&source).map_err(|error| error.to_string())
    }

    #[test]
    fn entries_are_found_by_their_words() {
        let material = read(
            "[[material]]\nwords = [\"Coffee\", \"咖啡\"]\ntitle = \"about coffee\"\ntext = \"x\"\n\
             [[material]]\ntitle = \"about all\"\ntext = \"y\"\n",
        )
        .unwrap();
        let titles = |query: &str| {
            let items = material.items(&Query::new(query, 5).unwrap());
            items
                .iter()
                .map(|item| format!("{} {}", item.id, item.title))
                .collect::<Vec<_>>()
        };
        assert_eq!(titles("best COFFEE"), ["s1 about coffee"]);
        assert_eq!(titles("咖啡豆"), ["s1 about coffee"]);
        assert_eq!(titles("tea"), ["s1 about all"]);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            read("[[material]]\ntitle = \"\"\ntext = \" \"\n").unwrap_err(),
            "search file `material.toml` line 2: `material` has neither title nor text: expected one of them"
        );
        assert!(
            read("[[material]]\ntitel = \"\"\n")
                .unwrap_err()
                .contains("unknown field `titel`")
        );
    }
}
