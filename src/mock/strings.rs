//! The strings of an instance: sentences, titles, tags and sources, made from the prompt.

use fastrand::Rng;
use serde_json::Value;

use super::answer::{sentence, title};
use super::keywords::Theme;

/// What reads as a title; longer ones are sentences.
const LONGEST_TITLE: usize = 20;
/// What platforms show of a tag.
const LONGEST_TAG: usize = 12;

/// Writes the strings of one instance; only the first one that is free to say anything ends with the marker.
pub(crate) struct Words<'a> {
    pub(crate) theme: &'a Theme<'a>,
    pub(crate) rng: Rng,
    /// Taken by the string that carries it.
    marker: Option<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(theme: &'a Theme<'a>, marker: &'a str, rng: Rng) -> Self {
        Self {
            theme,
            rng,
            marker: Some(marker),
        }
    }

    /// The string that `schema` asks for under `name`.
    pub(crate) fn string(&mut self, schema: &Value, name: &str) -> String {
        if let Some(text) = schema["format"]
            .as_str()
            .and_then(|format| self.formatted(format))
        {
            return text;
        }
        if is_short(name) {
            return self.title(schema);
        }
        let mut text = String::new();
        sentence(&mut text, self.theme, &mut self.rng);
        self.free(text, schema)
    }

    /// `text` as a string that may carry the marker, in the length that `schema` asks for.
    pub(crate) fn free(&mut self, mut text: String, schema: &Value) -> String {
        let free = bound(schema, "maxLength").is_none() && schema["pattern"].is_null();
        if let Some(marker) = self.marker.take_if(|_| free) {
            text.push(' ');
            text.push_str(marker);
        }
        self.sized(text, schema)
    }

    /// `text` in the length that `schema` asks for.
    pub(crate) fn sized(&mut self, mut text: String, schema: &Value) -> String {
        let fewest = bound(schema, "minLength").unwrap_or(0);
        while text.chars().count() < fewest {
            text.push(' ');
            sentence(&mut text, self.theme, &mut self.rng);
        }
        text.truncate(end_of(&text, bound(schema, "maxLength").unwrap_or(usize::MAX)));
        text
    }

    /// A few words, cut between words if they can be; longer than a title only if `schema` insists.
    fn title(&mut self, schema: &Value) -> String {
        let fewest = bound(schema, "minLength").unwrap_or(0);
        let most = bound(schema, "maxLength").unwrap_or(usize::MAX);
        let most = most.min(fewest.max(LONGEST_TITLE));
        let mut text = title(self.theme, &mut self.rng);
        if end_of(&text, most) < text.len() {
            let stems = stems(self.theme, most);
            text.clone_from(&stems[self.rng.usize(..stems.len())]);
        }
        while text.chars().count() < fewest {
            text.push(' ');
            text.push_str(&title(self.theme, &mut self.rng));
        }
        cut_between_words(&mut text, fewest, most);
        text
    }

    /// `count` different tags of one word each; `longest` is the most characters that the schema allows.
    pub(crate) fn tags(&mut self, count: usize, longest: Option<usize>) -> Vec<String> {
        let longest = longest.map_or(LONGEST_TAG, |longest| longest.min(LONGEST_TAG));
        let mut stems = stems(self.theme, longest);
        self.rng.shuffle(&mut stems);
        let mut tags: Vec<String> = Vec::with_capacity(count.min(64));
        for tag in stems
            .iter()
            .cloned()
            .chain(variants(self.theme, &stems, longest, count))
        {
            if tags.len() == count {
                break;
            }
            if !tags.iter().any(|known| known.eq_ignore_ascii_case(&tag)) {
                tags.push(tag);
            }
        }
        tags
    }

    /// Where an item came from: nowhere, an item of the prompt, or what the client wants.
    pub(crate) fn source(&mut self, schema: &Value) -> Value {
        if self.rng.u8(..3) == 0 {
            return Value::Null;
        }
        let source = self.theme.material.item().unwrap_or("需求");
        Value::String(self.sized(source.to_owned(), schema))
    }

    fn formatted(&mut self, format: &str) -> Option<String> {
        let n = self.rng.u32(1..=28);
        Some(match format {
            "date" => format!("2026-01-{n:02}"),
            "time" => format!("08:{n:02}:00Z"),
            "date-time" => format!("2026-01-{n:02}T08:00:00Z"),
            "email" => format!("reader{n}@example.com"),
            "uri" | "url" => format!("https://example.com/source/{n}"),
            "uuid" => {
                let bits = self.rng.u64(..);
                format!(
                    "{:08x}-{:04x}-4000-8000-{:012x}",
                    bits >> 32,
                    bits & 0xffff,
                    bits & 0xffff_ffff
                )
            }
            _ => return None,
        })
    }
}

/// The keywords of at most `longest` characters, or all of them cut to that if none is short enough.
fn stems(theme: &Theme<'_>, longest: usize) -> Vec<String> {
    // Only the spare keywords have spaces; their last word says as much.
    let words = theme.keywords.iter();
    let words = words.map(|keyword| keyword.rsplit(' ').next().unwrap_or(keyword));
    let (fitting, long): (Vec<_>, Vec<_>) = words.partition(|word| end_of(word, longest) == word.len());
    let stems = if fitting.is_empty() { long } else { fitting };
    let cut = |word: &str| word[..end_of(word, longest)].to_owned();
    stems.into_iter().map(cut).collect()
}

/// More tags than there are keywords: first with endings that people use, then with numbers.
fn variants(
    theme: &Theme<'_>,
    stems: &[String],
    longest: usize,
    count: usize,
) -> impl Iterator<Item = String> {
    let endings = theme.language.phrases().endings.iter();
    let ended = endings.flat_map(move |ending| stems.iter().map(move |stem| format!("{stem}{ending}")));
    let numbered = (2..count.saturating_add(2)).flat_map(move |n| {
        let room = longest.saturating_sub(n.to_string().len());
        stems
            .iter()
            .map(move |stem| format!("{}{n}", &stem[..end_of(stem, room)]))
    });
    let fits = move |tag: &String| end_of(tag, longest) == tag.len();
    ended.chain(numbered).filter(fits)
}

/// Cuts `text` to `most` characters, at a space if `fewest` characters are left then.
fn cut_between_words(text: &mut String, fewest: usize, most: usize) {
    let end = end_of(text, most);
    if end == text.len() {
        return;
    }
    let space = if text[end..].starts_with(' ') {
        Some(end)
    } else {
        text[..end].rfind(' ')
    };
    let space = space.filter(|&at| text[..at].chars().count() >= fewest);
    text.truncate(space.unwrap_or(end));
}

/// Where the first `most` characters of `text` end.
fn end_of(text: &str, most: usize) -> usize {
    text.char_indices().nth(most).map_or(text.len(), |(end, _)| end)
}

/// The number under `key`, if it is a length or a count.
pub(crate) fn bound(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok())
}

/// Properties with such names hold a title, all others a sentence.
fn is_short(name: &str) -> bool {
    const SHORT: &[&str] = &[
        "title", "name", "query", "queries", "keyword", "topic", "label", "tag", "heading", "id",
    ];
    let name = name.to_ascii_lowercase();
    SHORT
        .iter()
        .any(|short| name.trim_end_matches('s').ends_with(short) || name.ends_with(short))
}

/// Lists with such names hold tags, unless `items` asks for longer strings than keywords can be.
pub(crate) fn is_tags(name: &str, items: &Value) -> bool {
    const TAGS: &[&str] = &["tags", "keywords", "search_words", "searchwords"];
    const SHORTEST_KEYWORD: usize = 2;
    let name = name.to_ascii_lowercase();
    TAGS.iter().any(|tags| name.ends_with(tags))
        && bound(items, "minLength").is_none_or(|fewest| fewest <= SHORTEST_KEYWORD)
}

#[cfg(test)]
mod tests {
    use super::super::schema::instance;
    use super::*;
    use serde_json::json;

    const CHINESE: &str = "请分析动力电池回收的市场规模和Rust工具";
    const LONG: &str = "Antidisestablishmentarianism versus floccinaucinihilipilification";

    fn made(name: &str, schema: &Value, prompt: &str, seed: u64) -> Value {
        let schema = json!({"type": "object", "properties": {name: schema}});
        let mut made = instance(&schema, &Theme::of(prompt), "[mock 0000]", Rng::with_seed(seed));
        made[name].take()
    }

    fn length(value: &Value) -> usize {
        value.as_str().expect("a string").chars().count()
    }

    #[test]
    fn titles_are_short_and_never_empty() {
        for prompt in [CHINESE, LONG, "Compare heat pumps with gas boilers", ""] {
            for seed in 0..50 {
                for name in ["title", "names", "label"] {
                    let title = made(name, &json!({"type": "string"}), prompt, seed);
                    assert!((1..=20).contains(&length(&title)), "{title}");
                }
                let bounded = json!({"type": "string", "minLength": 12, "maxLength": 15});
                let title = made("title", &bounded, prompt, seed);
                assert!((12..=15).contains(&length(&title)), "{title}");
                let title = made("title", &json!({"type": "string", "minLength": 30}), prompt, seed);
                assert_eq!(length(&title), 30, "{title}");
            }
        }
    }

    #[test]
    fn titles_end_with_whole_words_where_they_can() {
        let theme = Theme::of("Compare heat pumps with condensing boilers");
        for seed in 0..50 {
            let bounded = json!({"type": "string", "maxLength": 10});
            let mut words = Words::new(&theme, "", Rng::with_seed(seed));
            let title = words.string(&bounded, "title");
            assert!(
                title
                    .split(' ')
                    .all(|word| theme.keywords.iter().any(|known| known == word)),
                "{title}"
            );
        }
        for seed in 0..50 {
            let bounded = json!({"type": "string", "maxLength": 4});
            let title = made("title", &bounded, "防晒霜、敏感肌、轻薄", seed);
            let known = ["防晒霜", "敏感肌", "轻薄"].iter().any(|&word| title == word);
            assert!(known, "{title}");
        }
        let cut = |text: &str, fewest, most| {
            let mut text = text.to_owned();
            cut_between_words(&mut text, fewest, most);
            text
        };
        assert_eq!(cut("heat pumps", 0, 10), "heat pumps");
        assert_eq!(cut("heat pumps", 0, 9), "heat");
        assert_eq!(cut("热泵 锅炉 对比", 0, 5), "热泵 锅炉");
        assert_eq!(cut("heat pumps", 6, 9), "heat pump");
        assert_eq!(cut("heatpumps", 0, 4), "heat");
    }

    #[test]
    fn tags_are_few_short_and_different() {
        let strings = json!({"type": "array", "items": {"type": "string"}});
        for prompt in [CHINESE, LONG, "Heat pumps", ""] {
            for name in ["tags", "hashtags", "search_words", "keywords"] {
                for seed in 0..20 {
                    let tags = made(name, &strings, prompt, seed);
                    let tags = tags.as_array().expect("a list");
                    assert!((3..=5).contains(&tags.len()), "{tags:?}");
                    are_tags(tags, 12);
                }
            }
        }
    }

    fn are_tags(tags: &[Value], longest: usize) {
        for (i, tag) in tags.iter().enumerate() {
            assert!((1..=longest).contains(&length(tag)), "{tags:?}");
            assert!(
                !tag.as_str().expect("a string").contains(char::is_whitespace),
                "{tags:?}"
            );
            assert!(!tags[..i].contains(tag), "{tags:?}");
        }
    }

    #[test]
    fn the_schema_rules_over_tags() {
        for (fewest, most, longest) in [(1, 2, 12), (9, 9, 12), (40, 90, 4), (30, 30, 2)] {
            let schema = json!({"type": "array", "minItems": fewest, "maxItems": most,
                "items": {"type": ["string", "null"], "maxLength": longest}});
            let tags = made("tags", &schema, CHINESE, 1);
            let tags = tags.as_array().expect("a list");
            assert!((fewest..=most).contains(&tags.len()), "{tags:?}");
            are_tags(tags, longest);
        }
        let alike = json!({"type": "array", "minItems": 6, "items": {"type": "string", "maxLength": 3}});
        are_tags(
            made("tags", &alike, "电池甲、电池乙", 1)
                .as_array()
                .expect("a list"),
            3,
        );
        let long = json!({"type": "array", "items": {"type": "string", "minLength": 15}});
        let fixed = json!({"type": "array", "items": {"enum": ["a b"]}});
        let numbers = json!({"type": "array", "items": {"type": "integer"}});
        for seed in 0..20 {
            assert!(length(&made("tags", &long, CHINESE, seed)[0]) >= 15);
            assert_eq!(made("tags", &fixed, CHINESE, seed)[0], "a b");
            assert!(made("tags", &numbers, CHINESE, seed)[0].is_i64());
        }
    }

    #[test]
    fn a_source_is_an_item_or_the_wish_or_nothing() {
        let nullable = json!({"type": ["string", "null"]});
        let sources = |prompt: &str| {
            let mut sources: Vec<Value> = (0..50)
                .map(|seed| made("source", &nullable, prompt, seed))
                .collect();
            sources.sort_by_key(Value::to_string);
            sources.dedup();
            sources
        };
        assert_eq!(
            sources("# 结果\n<<<results\n见 insight1 与 profile2\nresults>>>"),
            [json!("insight1"), Value::Null]
        );
        assert_eq!(sources("见 insight1"), [json!("需求"), Value::Null]);
        let plain = made("source", &json!({"type": "string"}), CHINESE, 1);
        assert!(length(&plain) > 10, "{plain}");
    }
}
