//! The parts of an answer that refer to the prompt: quotes of search results, ids of earlier items, search queries.
//!
//! Material stands between fences: `<<<s1`, lines, `s1>>>`. A search result has the id `s` and a number; its first
//! lines are its title and its address. An earlier item has the name of its kind and a number (`insight2`).

use super::samples;
use super::topic::Topic;

/// The characters of a sentence that is quoted. A shorter one says too little, and a longer one is no sentence.
const QUOTED: std::ops::RangeInclusive<usize> = 8..=200;

/// The most characters of the subject in a query.
const SUBJECT: usize = 30;

/// A sentence of a search result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quotation<'a> {
    /// The id of the search result.
    pub(crate) id: &'a str,
    /// The sentence, exactly as in the prompt.
    pub(crate) sentence: &'a str,
}

/// Returns the sentence for the item with this number. Successive items quote different results, if there are several.
pub(crate) fn quotation(prompt: &str, item: usize) -> Option<Quotation<'_>> {
    let results: Vec<(&str, Vec<&str>)> = fences(prompt)
        .into_iter()
        .filter(|(id, _)| is_result(id))
        .map(|(id, text)| (id, sentences(text)))
        .filter(|(_, sentences)| !sentences.is_empty())
        .collect();
    let (id, sentences) = results.get(item % results.len().max(1))?;
    let sentence = sentences[item / results.len() % sentences.len()];
    Some(Quotation { id, sentence })
}

/// Returns the content of a fact that rests on a sentence.
pub(crate) fn fact(sentence: &str, topic: &Topic<'_>) -> String {
    let row = samples::row("found fact", topic.language).unwrap_or_default();
    let use_of_it = row.concat().replace("%s", &topic.subject);
    format!("{sentence}\n{use_of_it}")
}

/// Returns the ids of the earlier items in the prompt, each once.
pub(crate) fn item_ids(prompt: &str) -> Vec<&str> {
    let mut ids = Vec::new();
    for (id, _) in fences(prompt) {
        if is_item(id) && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// Returns the search query with this number, from 0.
pub(crate) fn query(topic: &Topic<'_>, number: usize) -> String {
    let subject: String = topic.subject.chars().take(SUBJECT).collect();
    let subject = subject.trim_end_matches('…').trim();
    let row = samples::row("search query", topic.language).unwrap_or_default();
    let addition = row.get(number % row.len().max(1)).copied().unwrap_or_default();
    addition.replace("%s", subject)
}

/// Returns the fenced texts of a prompt with their ids.
fn fences(prompt: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = prompt;
    while let Some((_, behind)) = rest.split_once("<<<") {
        let Some((id, text)) = behind.split_once('\n') else {
            break;
        };
        rest = behind;
        if let Some(end) = text.find(&format!("\n{id}>>>")) {
            found.push((id, &text[..end]));
            rest = &text[end..];
        }
    }
    found
}

/// Whether an id is a letter sequence with a number, such as `insight2`. Returns the letters.
fn letters(id: &str) -> Option<&str> {
    let letters = id.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = letters
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (plain && !letters.is_empty() && letters.len() < id.len()).then_some(letters)
}

fn is_result(id: &str) -> bool {
    letters(id) == Some("s")
}

fn is_item(id: &str) -> bool {
    letters(id).is_some_and(|letters| letters != "s")
}

/// Returns the sentences of a search result after its title and its address, without those of the mock about itself.
fn sentences(text: &str) -> Vec<&str> {
    let is_address = |line: &str| line.starts_with("http://") || line.starts_with("https://");
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| is_address(line)).unwrap_or(0);
    let behind = if lines.len() > 1 {
        &lines[begin + 1..]
    } else {
        &lines[..]
    };
    behind
        .iter()
        .flat_map(|line| split(line))
        .filter(|sentence| QUOTED.contains(&sentence.chars().count()))
        .filter(|sentence| !sentence.contains("模拟服务器") && !sentence.contains("mock server"))
        .collect()
}

/// Splits a line after its full stops. A point inside a number ends no sentence.
fn split(line: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut begin = 0;
    let mut characters = line.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let follows = characters.peek().map(|(_, next)| *next);
        // The subject of a sample may be a question.
        let ends = c == '。' || (c == '.' && follows.is_none_or(char::is_whitespace));
        if ends {
            sentences.push(line[begin..at + c.len_utf8()].trim());
            begin = at + c.len_utf8();
        }
    }
    sentences.push(line[begin..].trim());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "# 已有结果\n\n<<<insight1\n一条洞察\ninsight1>>>\n<<<xhs_writing2\n一篇\nxhs_writing2>>>\n\
        <<<insight1.意见\n不错\ninsight1.意见>>>\n\n# 搜索结果\n\n\
        <<<s1\n标题，很长的标题。\nhttps://example.com/1\n12 个人有 9 个人愿意继续用。价格是 3.5 元，比去年低。\n\
        （模拟服务器的样例文字，不是真实的资料。）\ns1>>>\n\
        <<<s2\nA title\nhttps://example.com/2\nIt costs 3.5 dollars today. It was free before.\ns2>>>\n\n\
        # 任务\n\n<<<任务\n核实燕麦奶\n任务>>>\n";

    #[test]
    fn items_quote_one_result_after_the_other() {
        let quoted = |item| quotation(PROMPT, item).map(|quotation| (quotation.id, quotation.sentence));
        assert_eq!(quoted(0), Some(("s1", "12 个人有 9 个人愿意继续用。")));
        assert_eq!(quoted(1), Some(("s2", "It costs 3.5 dollars today.")));
        assert_eq!(quoted(2), Some(("s1", "价格是 3.5 元，比去年低。")));
        assert_eq!(quoted(3), Some(("s2", "It was free before.")));
        assert_eq!(quoted(4), quoted(0));
        assert_eq!(quotation("<<<任务\n核实燕麦奶的价格\n任务>>>", 0), None);
        assert_eq!(quotation("<<<s1\nshort\ns1>>> <<<s2\nnever closed", 0), None);
    }

    #[test]
    fn ids_of_items_are_read_from_the_fences() {
        assert_eq!(item_ids(PROMPT), ["insight1", "xhs_writing2"]);
        assert_eq!(item_ids("insight1 stands in no fence"), [""; 0]);
    }

    #[test]
    fn queries_are_short_and_about_the_subject() {
        let topic = Topic::of(PROMPT);
        let queries: Vec<String> = (0..3).map(|number| query(&topic, number)).collect();
        assert_eq!(queries, ["核实燕麦奶", "核实燕麦奶 价格", "核实燕麦奶 使用体验"]);
        let long = "long ".repeat(40);
        assert!(query(&Topic::of(&long), 0).chars().count() <= SUBJECT);
    }
}
