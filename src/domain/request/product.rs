//! The product of a request: its facts, and the words that its texts must hold or must not hold.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::{Complaint, Fields, ValuePlace};
use crate::domain::folding::folded;
use crate::domain::ids::shortened;
use crate::domain::item_texts::found_words;

/// Characters of the name and of the price.
const SHORT: usize = 200;

/// Characters of one point or one proof.
const LONG: usize = 500;

/// Points, and proofs.
const MOST_FACTS: usize = 20;

/// Words that each text must hold. They must fit in a post together.
const MOST_MUST_SAY: usize = 10;

/// Words that no text may hold.
const MOST_MUST_NOT_SAY: usize = 50;

/// Characters of such a word. They are in every prompt whatever its budget.
const WORD: usize = 60;

/// Forbidden words that are reported for one item.
const TOLD: usize = 10;

/// Characters of a word that a message quotes.
const QUOTED: usize = 60;

/// The product that a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductBrief {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its selling points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<String>,
    /// Its price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// The evidence for its points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<String>,
    /// Words that the title or the content of each text must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_say: Vec<String>,
    /// Words that no field of a text may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_not_say: Vec<String>,
}

impl ProductBrief {
    /// Returns a complaint for each word of `must_say` that is in neither the title nor the content of an item.
    pub fn missing(&self, item: &Map<String, Value>) -> Vec<String> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).map(folded);
        let main = [text("title"), text("content")];
        let is_said = |word: &str| {
            let word = folded(word);
            main.iter().flatten().any(|text| text.contains(&word))
        };
        self.must_say
            .iter()
            .filter(|word| !is_said(word))
            .map(|word| {
                let word = shortened(word, QUOTED);
                format!("neither `title` nor `content` says `{word}` (`background.product.must_say`)")
            })
            .collect()
    }

    /// Returns a complaint for each field of an item that holds a word of `must_not_say`.
    pub fn forbidden(&self, item: &Map<String, Value>) -> Vec<String> {
        let mut found = found_words(item, &self.must_not_say);
        found.truncate(TOLD);
        found
            .into_iter()
            .map(|(field, word)| {
                let word = shortened(word, QUOTED);
                format!("`{field}` says `{word}` (`background.product.must_not_say`)")
            })
            .collect()
    }
}

pub(super) fn product(fields: &Fields<'_, '_>) -> Result<ProductBrief, Complaint> {
    let product = ProductBrief {
        name: short(fields, "name")?,
        points: list(fields, "points", MOST_FACTS, LONG)?,
        price: short(fields, "price")?,
        proof: list(fields, "proof", MOST_FACTS, LONG)?,
        must_say: list(fields, "must_say", MOST_MUST_SAY, WORD)?,
        must_not_say: list(fields, "must_not_say", MOST_MUST_NOT_SAY, WORD)?,
    };
    check_words(fields, &product)?;
    Ok(product)
}

fn short(fields: &Fields<'_, '_>, key: &str) -> Result<Option<String>, Complaint> {
    let text = fields.owned_text(key)?;
    if let Some(text) = &text {
        bounded(&fields.at(key), text, SHORT)?;
    }
    Ok(text.filter(|text| !text.trim().is_empty()))
}

fn list(fields: &Fields<'_, '_>, key: &str, most: usize, longest: usize) -> Result<Vec<String>, Complaint> {
    let texts = fields.texts(key)?;
    let place = fields.at(key);
    if texts.len() > most {
        return Err(Complaint(format!(
            "expected `{place}` to have at most {most} entries, got {} (leave out the least important ones)",
            texts.len()
        )));
    }
    for (index, text) in texts.iter().enumerate() {
        let place = ValuePlace::Index(&place, index);
        if text.trim().is_empty() {
            return Err(Complaint(format!(
                "expected `{place}` to have 1 to {longest} characters, got an empty text (remove it)"
            )));
        }
        bounded(&place, text, longest)?;
    }
    Ok(texts)
}

fn bounded(place: &ValuePlace<'_>, text: &str, longest: usize) -> Result<(), Complaint> {
    match text.chars().count() {
        length if length <= longest => Ok(()),
        length => Err(Complaint(format!(
            "expected `{place}` to have at most {longest} characters, got {length}: `{}` (shorten it, or move it into \
             `interaction_context`)",
            shortened(text, QUOTED)
        ))),
    }
}

/// Refuses words that no text can satisfy: a required word that holds a forbidden one.
fn check_words(fields: &Fields<'_, '_>, product: &ProductBrief) -> Result<(), Complaint> {
    for (index, word) in product.must_say.iter().enumerate() {
        let required = folded(word);
        let forbidden = product.must_not_say.iter();
        if let Some(forbidden) = forbidden
            .into_iter()
            .find(|word| required.contains(&folded(word)))
        {
            let list = fields.at("must_say");
            return Err(Complaint(format!(
                "expected `{}` without a word of `must_not_say`, got `{}`, which holds `{}` (remove one of them)",
                ValuePlace::Index(&list, index),
                shortened(word, QUOTED),
                shortened(forbidden, QUOTED)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(must_say: &[&str], must_not_say: &[&str]) -> ProductBrief {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ProductBrief {
            must_say: owned(must_say),
            must_not_say: owned(must_not_say),
            ..ProductBrief::default()
        }
    }

    #[test]
    fn a_required_word_stands_in_the_title_or_in_the_content() {
        let product = words(&["ＯＡＴ milk", "9.9 元"], &[]);
        let told = |item: Value| product.missing(item.as_object().unwrap());
        assert_eq!(
            told(json!({"title": "oat  Milk", "content": "只要9.9元"})),
            [""; 0]
        );
        assert_eq!(
            told(json!({"title": "t", "content": "9.9元", "cover": "oat milk"})),
            ["neither `title` nor `content` says `ＯＡＴ milk` (`background.product.must_say`)"]
        );
        assert_eq!(told(json!({"content": 1})).len(), 2);
    }

    #[test]
    fn a_forbidden_word_is_named_with_its_field() {
        let product = words(&[], &["减 肥", "Detox"]);
        let item = json!({"title": "t", "cover": "轻松减肥", "tags": ["ＤＥＴＯＸ", "detox 2"], "basis": ["detox1"]});
        assert_eq!(
            product.forbidden(item.as_object().unwrap()),
            [
                "`cover` says `减 肥` (`background.product.must_not_say`)",
                "`tags` says `Detox` (`background.product.must_not_say`)"
            ]
        );
    }
}
