//! The texts of an item, and the form in which words are searched in them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::folding::folded;

/// The field with the names of the material that an item rests on. It is no text of the item.
pub const BASIS: &str = "basis";

/// The fields that people read first.
pub const MAIN: [&str; 2] = ["title", "content"];

/// Returns every text of an item with the name of its field: strings, and the strings in lists and objects. The title
/// and the content come first.
pub fn texts(item: &Map<String, Value>) -> Vec<(&str, &str)> {
    let is_other = |field: &str, value: &Value| !MAIN.contains(&field) && !is_basis(field, value);
    let main = MAIN.iter().filter_map(|field| item.get_key_value(*field));
    let others = item.iter().filter(|(field, value)| is_other(field, value));
    let mut found = Vec::new();
    for (field, value) in main.chain(others) {
        gather(field, value, &mut found);
    }
    found
}

/// Whether a field is the list of the material that its item rests on.
pub fn is_basis(field: &str, value: &Value) -> bool {
    field == BASIS && value.is_array()
}

fn gather<'a>(field: &'a str, value: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::String(text) => found.push((field, text)),
        Value::Array(list) => list.iter().for_each(|entry| gather(field, entry, found)),
        Value::Object(object) => object.values().for_each(|entry| gather(field, entry, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns each word that an item holds, with its field: once for each field, in the order of the item.
pub fn found_words<'a>(item: &'a Map<String, Value>, words: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let mut known = HashSet::new();
    let words: Vec<(&str, String)> = words
        .iter()
        .map(|word| (word.as_str(), folded(word)))
        .filter(|(_, folded)| !folded.is_empty() && known.insert(folded.clone()))
        .collect();
    let mut found = HashSet::new();
    let mut list = Vec::new();
    for (field, text) in texts(item) {
        let text = folded(text);
        for (word, _) in words.iter().filter(|(_, folded)| text.contains(folded)) {
            if found.insert((field, *word)) {
                list.push((field, *word));
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn case_width_and_white_space_make_no_difference() {
        for (text, same) in [
            ("ＶＩＰ　会员", "vip会员"),
            ("9.9 元\n包邮", "9.9元包邮"),
            (" Oat   milk ", "oat milk"),
            ("ÉTÉ", "été"),
        ] {
            assert_eq!(folded(text), same);
        }
        assert_ne!(folded("piano sextet"), folded("pianosextet"));
    }

    #[test]
    fn a_word_is_found_once_in_each_field_that_holds_it() {
        let words = ["vip", "ＶＩＰ", " ", "最佳"].map(str::to_owned);
        let item = json!({"title": "Vip 最佳", "tags": ["vip1", "vip2"], "content": "v i p"});
        let found = found_words(item.as_object().unwrap(), &words);
        assert_eq!(found, [("title", "vip"), ("title", "最佳"), ("tags", "vip")]);
    }

    #[test]
    fn every_text_has_the_name_of_its_field() {
        let item = json!({"title": "a", "tags": ["b", 1, "c"], "shots": [{"line": "d"}], "basis": ["fact1"], "n": null});
        let found = texts(item.as_object().unwrap());
        assert_eq!(
            found,
            [("title", "a"), ("shots", "d"), ("tags", "b"), ("tags", "c")]
        );
        let own = json!({"basis": "because"});
        assert_eq!(texts(own.as_object().unwrap()), [("basis", "because")]);
    }
}
