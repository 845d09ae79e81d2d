//! The rules of the platform for a finished post.
//!
//! The answer's schema checks whether the fields are there and of the right type. Here an absent field, or one of
//! another type, counts as empty.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::folding::folded;
use super::ids::shortened;
use super::item_texts::found_words;

/// A model can mend a handful of faults at once; a longer list would fill the warning line.
const MOST_COMPLAINTS: usize = 10;

/// How many characters of a word a message quotes: enough to find it again.
const QUOTED: usize = 60;

/// The rules of a post; a rule that is not set is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostRules {
    /// The longest title, counted by [`title_length`].
    pub title_chars: Option<usize>,
    /// The longest body, in Unicode scalar values.
    pub content_chars: Option<usize>,
    /// The fewest and the most tags.
    pub tags: Option<(usize, usize)>,
    /// The label that marks a text as written by a model, in the body or as a tag.
    pub label: Option<String>,
    /// Words that must not occur in any text of any field.
    pub banned: Vec<String>,
    /// Lists of words, such as `tags`, in which no word may occur twice.
    pub distinct: Vec<String>,
}

impl PostRules {
    /// Returns the broken rules of `post`, each with the value and the bound, for a warning and for the model that
    /// corrects it. Case, full-width forms and white space make no difference between words or tags.
    pub fn complaints(&self, item: &Map<String, Value>) -> Vec<String> {
        let post = Post::of(item);
        let lengths = [
            long_title(post.title, self.title_chars),
            long_content(post.content, self.content_chars),
        ];
        let mut complaints: Vec<String> = lengths.into_iter().flatten().collect();
        if let Some((least, most)) = self.tags {
            complaints.extend(wrong_number(post.entries, least, most));
        }
        if item.contains_key("content") {
            complaints.extend(self.label.as_deref().and_then(|label| post.lacks(label.trim())));
        }
        complaints.extend(self.banned_in(item));
        complaints.truncate(MOST_COMPLAINTS);
        complaints
    }

    /// Adds the label as the last line of the body if the post does not carry it. A body that would become too long
    /// stays as it is, and [`Self::complaints`] names it.
    pub fn add_label(&self, item: &mut Map<String, Value>) {
        let Some(label) = self.label.as_deref().map(str::trim) else {
            return;
        };
        if Post::of(item).lacks(label).is_none() {
            return;
        }
        if let Some(Value::String(content)) = item.get_mut("content") {
            let labelled = format!("{}\n{label}", content.trim_end());
            if self
                .content_chars
                .is_none_or(|most| labelled.chars().count() <= most)
            {
                *content = labelled;
            }
        }
    }

    /// Removes repeated words, and words without a letter or a digit, from each list of distinct words.
    pub fn drop_repeated_words(&self, post: &mut Map<String, Value>) {
        for name in &self.distinct {
            let Some(Value::Array(list)) = post.get_mut(name) else {
                continue;
            };
            let mut known = HashSet::new();
            list.retain(|word| {
                let Some(word) = word.as_str() else { return true };
                word.chars().any(char::is_alphanumeric) && known.insert(folded(bare(word)))
            });
        }
    }

    fn banned_in(&self, item: &Map<String, Value>) -> Vec<String> {
        let found = found_words(item, &self.banned);
        let told = found.into_iter().take(MOST_COMPLAINTS);
        told.map(|(field, word)| format!("`{field}` holds the banned word `{}`", shortened(word, QUOTED)))
            .collect()
    }
}

/// The fields of a post that the rules check.
struct Post<'a> {
    title: &'a str,
    content: &'a str,
    tags: Vec<&'a str>,
    /// Entries of the list of tags, including those that are not strings.
    entries: usize,
}

impl<'a> Post<'a> {
    fn of(post: &'a Map<String, Value>) -> Self {
        let text = |key| post.get(key).and_then(Value::as_str).unwrap_or_default();
        let list = post.get("tags").and_then(Value::as_array);
        let list = list.map(Vec::as_slice).unwrap_or_default();
        Self {
            title: text("title"),
            content: text("content"),
            tags: list.iter().filter_map(Value::as_str).collect(),
            entries: list.len(),
        }
    }

    fn lacks(&self, label: &str) -> Option<String> {
        let carried = folded(self.content).contains(&folded(label))
            || self
                .tags
                .iter()
                .any(|tag| folded(bare(tag)) == folded(bare(label)));
        (!carried).then(|| {
            format!(
                "`content` does not carry the label `{}`",
                shortened(label, QUOTED)
            )
        })
    }
}

/// Returns the length of a title as Xiaohongshu counts it: two ASCII characters count as one, and each other character
/// as one. A half is rounded up.
pub fn title_length(title: &str) -> usize {
    let halves: usize = title.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
    halves.div_ceil(2)
}

fn long_title(title: &str, most: Option<usize>) -> Option<String> {
    let length = title_length(title);
    let most = most.filter(|&most| length > most)?;
    Some(format!(
        "`title` counts as {length} characters, at most {most} (two ASCII characters count as one)"
    ))
}

fn long_content(content: &str, most: Option<usize>) -> Option<String> {
    let length = content.chars().count();
    let most = most.filter(|&most| length > most)?;
    let noun = if length == 1 { "character" } else { "characters" };
    Some(format!("`content` has {length} {noun}, at most {most}"))
}

fn wrong_number(entries: usize, least: usize, most: usize) -> Option<String> {
    let noun = if entries == 1 { "entry" } else { "entries" };
    (!(least..=most).contains(&entries))
        .then(|| format!("`tags` has {entries} {noun}, {least} to {most} are asked"))
}

/// Returns a tag without the leading `#` that some models write.
fn bare(tag: &str) -> &str {
    tag.trim().trim_start_matches(['#', '＃']).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The platform's own limits.
    fn rules() -> PostRules {
        PostRules {
            title_chars: Some(20),
            content_chars: Some(1000),
            tags: Some((3, 10)),
            label: Some("AI生成".to_owned()),
            banned: vec!["最好".to_owned(), "VIP".to_owned()],
            distinct: vec!["tags".to_owned(), "words".to_owned()],
        }
    }

    fn good() -> Value {
        json!({"title": "油皮早八", "content": "先洗脸。（AI生成）", "tags": ["护肤", "油皮", "早八"]})
    }

    /// Returns the complaints about a good post whose `key` has this value.
    fn with(key: &str, value: Value) -> Vec<String> {
        let mut post = good();
        post[key] = value;
        rules().complaints(post.as_object().unwrap())
    }

    #[test]
    fn a_good_post_has_no_complaints() {
        assert_eq!(rules().complaints(good().as_object().unwrap()), [""; 0]);
    }

    #[test]
    fn no_rule_no_complaint() {
        let bad = json!({"title": "长".repeat(99), "tags": ["a", "a"]});
        assert_eq!(PostRules::default().complaints(bad.as_object().unwrap()), [""; 0]);
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert_eq!(with("title", "好".repeat(20).into()), [""; 0]);
        assert_eq!(
            with("title", "好".repeat(23).into()),
            ["`title` counts as 23 characters, at most 20 (two ASCII characters count as one)"]
        );
        assert_eq!(
            with("content", format!("{}AI生成", "a".repeat(997)).into()),
            ["`content` has 1001 characters, at most 1000"]
        );
    }

    #[test]
    fn a_title_is_counted_as_the_platform_counts_it() {
        for (title, length) in [
            ("", 0),
            ("a", 1),
            ("ab", 1),
            ("abc", 2),
            ("油皮早八", 4),
            ("油皮，早八！", 6),
            ("早8点", 3),
            ("早8点半a", 4),
            ("散粉🎉", 3),
            ("é", 1),
        ] {
            assert_eq!(title_length(title), length, "{title}");
        }
        assert_eq!(with("title", "a".repeat(40).into()), [""; 0]);
        assert_eq!(with("title", format!("{}a", "好".repeat(19)).into()), [""; 0]);
        assert_eq!(
            with("title", "a".repeat(41).into()),
            ["`title` counts as 21 characters, at most 20 (two ASCII characters count as one)"]
        );
    }

    #[test]
    fn a_missing_label_is_added_where_it_fits() {
        let labelled = |post: Value, rules: &PostRules| {
            let mut post = post.as_object().unwrap().clone();
            rules.add_label(&mut post);
            (post["content"].clone(), rules.complaints(&post))
        };
        let with_content = |content: String| {
            let mut post = good();
            post["content"] = content.into();
            post
        };
        assert_eq!(labelled(good(), &rules()).0, good()["content"]);
        let (content, complaints) = labelled(with_content("先洗脸。\n\n".to_owned()), &rules());
        assert_eq!((content, complaints), ("先洗脸。\nAI生成".into(), vec![]));
        let most = "长".repeat(1000 - "\nAI生成".chars().count());
        let (content, complaints) = labelled(with_content(most.clone()), &rules());
        assert_eq!((content, complaints), (format!("{most}\nAI生成").into(), vec![]));
        let full = most + "长";
        let (content, complaints) = labelled(with_content(full.clone()), &rules());
        assert_eq!(content, full.as_str());
        assert_eq!(complaints, ["`content` does not carry the label `AI生成`"]);
        let none = PostRules::default();
        assert_eq!(labelled(with_content("a".to_owned()), &none).0, "a");
    }

    #[test]
    fn tags_are_counted() {
        for (tags, expected) in [
            (
                json!(["护肤", "油皮"]),
                vec!["`tags` has 2 entries, 3 to 10 are asked"],
            ),
            (json!(["护肤"]), vec!["`tags` has 1 entry, 3 to 10 are asked"]),
            (json!(null), vec!["`tags` has 0 entries, 3 to 10 are asked"]),
            (
                json!("护肤 油皮 早八"),
                vec!["`tags` has 0 entries, 3 to 10 are asked"],
            ),
        ] {
            assert_eq!(with("tags", tags.clone()), expected, "{tags}");
        }
    }

    #[test]
    fn a_word_that_stands_twice_or_says_nothing_is_dropped() {
        let kept = |rules: &PostRules, tags: Value| {
            let mut post = Map::from_iter([("words".to_owned(), tags)]);
            rules.drop_repeated_words(&mut post);
            post["words"].clone()
        };
        for (tags, expected) in [
            (json!(["护肤", "油皮", " #护肤 "]), json!(["护肤", "油皮"])),
            (
                json!(["#OOTD", "ootd", "＃ＯＯＴＤ", "c", "x", "X"]),
                json!(["#OOTD", "c", "x"]),
            ),
            (json!(["…", "", "#", "a", 1, 1]), json!(["a", 1, 1])),
            (json!("a a"), json!("a a")),
        ] {
            assert_eq!(kept(&rules(), tags), expected);
        }
        let unruled = PostRules::default();
        assert_eq!(kept(&unruled, json!(["a", "a"])), json!(["a", "a"]));
    }

    #[test]
    fn the_label_stands_in_the_body_or_among_the_tags() {
        let missing = ["`content` does not carry the label `AI生成`"];
        assert_eq!(with("content", "先洗脸。".into()), missing);
        assert_eq!(with("content", Value::Null), missing);
        assert_eq!(with("content", "由ａｉ生成".into()), [""; 0]);
        let mut tagged = good();
        tagged["content"] = "先洗脸。".into();
        for (tag, expected) in [("#ai生成", &[][..]), ("非AI生成", &missing)] {
            tagged["tags"][0] = tag.into();
            assert_eq!(rules().complaints(tagged.as_object().unwrap()), expected, "{tag}");
        }
    }

    #[test]
    fn a_banned_word_is_named_once_for_each_field() {
        assert_eq!(
            with("title", "最好的最好，vip".into()),
            [
                "`title` holds the banned word `最好`",
                "`title` holds the banned word `VIP`"
            ]
        );
        assert_eq!(
            with("tags", json!(["最好a", "最好b", "c"])),
            ["`tags` holds the banned word `最好`"]
        );
        assert_eq!(
            with("cover", "大字：最 好".into()),
            ["`cover` holds the banned word `最好`"]
        );
        assert_eq!(
            with("shots", json!([{"line": "vip"}])),
            ["`shots` holds the banned word `VIP`"]
        );
        assert_eq!(with("basis", json!(["vip1"])), [""; 0]);
        let twice = PostRules {
            banned: vec!["vip".to_owned(), "VIP".to_owned(), " ".to_owned(), String::new()],
            ..PostRules::default()
        };
        let post = json!({"title": " Vip", "content": "ＶＩＰ"});
        assert_eq!(
            twice.complaints(post.as_object().unwrap()),
            [
                "`title` holds the banned word `vip`",
                "`content` holds the banned word `vip`"
            ]
        );
    }

    #[test]
    fn complaints_are_few_and_what_they_quote_is_short_and_harmless() {
        let many = PostRules {
            banned: (0..50).map(|number| format!("<{number}>")).collect(),
            ..rules()
        };
        let content: String = many.banned.concat();
        let evil = format!("\u{1b}[31m{}", "长".repeat(100));
        let many = PostRules {
            banned: [vec![evil.clone()], many.banned].concat(),
            ..many
        };
        let post = json!({"title": "好".repeat(21), "content": evil + &content, "tags": ["a", "b"]});
        let complaints = many.complaints(post.as_object().unwrap());
        assert_eq!(complaints.len(), MOST_COMPLAINTS);
        assert_eq!(
            complaints[..4],
            [
                "`title` counts as 21 characters, at most 20 (two ASCII characters count as one)".to_owned(),
                "`tags` has 2 entries, 3 to 10 are asked".to_owned(),
                "`content` does not carry the label `AI生成`".to_owned(),
                format!(
                    "`content` holds the banned word `\u{fffd}[31m{}…`",
                    "长".repeat(55)
                ),
            ]
        );
    }
}
