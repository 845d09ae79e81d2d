//! What a prompt is about: its language, its subject and its keywords.

use super::material::{Material, is_item_id};
use super::phrases::{Language, is_own};
use super::tokens::is_han;

const ENOUGH: usize = 12;

/// What is asked comes first, but leaves room for the material it is asked about.
const ASKED: usize = 8;

/// Of a long last part, its end: prompts end in what they ask.
const ASKED_IN: usize = 600;

/// Long prompts carry sources and instructions; the beginning of a part is enough to sound like an answer.
const READ: usize = 2_000;

/// The theme of one prompt.
#[derive(Debug)]
pub(crate) struct Theme<'a> {
    pub(crate) language: Language,
    /// The last line that the prompt tells, cut to a readable length: prompts end in what they ask.
    pub(crate) subject: String,
    /// At least two: those of the last part first, then those of the material before it.
    pub(crate) keywords: Vec<String>,
    pub(crate) material: Material<'a>,
}

impl<'a> Theme<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let material = Material::read(text);
        // Headings and material may be in another language than what is asked.
        let asked = material.parts().last();
        let is_chinese = |lines: &Vec<&str>| lines.iter().any(|line| line.chars().any(is_han));
        let language = if asked.is_some_and(is_chinese) {
            Language::Chinese
        } else {
            Language::English
        };
        Self {
            language,
            subject: subject(&material, language),
            keywords: keywords(&material, language),
            material,
        }
    }
}

fn subject(material: &Material<'_>, language: Language) -> String {
    let (longest, fallback) = match language {
        Language::English => (80, "your question"),
        Language::Chinese => (40, "这个问题"),
    };
    let last = material.parts().iter().flatten().next_back();
    let last = last.copied().unwrap_or(fallback);
    let last = last.trim_end_matches(['?', '.', '!', ':', '？', '。', '！', '：']);
    match last.char_indices().nth(longest) {
        Some((cut, _)) => format!("{}…", &last[..cut]),
        None => last.to_owned(),
    }
}

fn keywords(material: &Material<'_>, language: Language) -> Vec<String> {
    let mut found: Vec<String> = Vec::with_capacity(ENOUGH);
    if let Some((asked, before)) = material.parts().split_last() {
        collect(&mut found, end_of(asked), ASKED);
        // Each part of the material has its share, so that a long history does not hide what came after it.
        let share = (ENOUGH - found.len()) / before.len().max(1);
        for part in before {
            let most = found.len() + share.max(1);
            collect(&mut found, part, most.min(ENOUGH));
        }
    }
    for part in material.parts() {
        collect(&mut found, part, ENOUGH);
    }
    let spare = match language {
        Language::English => ["the topic", "the context"],
        Language::Chinese => ["主题", "背景"],
    };
    let missing = 2usize.saturating_sub(found.len());
    found.extend(spare.iter().take(missing).map(|&word| word.to_owned()));
    found
}

/// The last lines of a part, from the one on with which they are long enough.
fn end_of<'p, 'a>(part: &'p [&'a str]) -> &'p [&'a str] {
    let mut read = 0;
    let long_enough = |line: &&str| {
        read += line.chars().count();
        read >= ASKED_IN
    };
    let start = part.iter().rposition(long_enough).unwrap_or(0);
    &part[start..]
}

/// Adds the keywords of `lines` that are not known yet, until there are `most`.
fn collect(found: &mut Vec<String>, lines: &[&str], most: usize) {
    let mut read = 0;
    for line in lines {
        for word in words(line) {
            if found.len() >= most {
                return;
            }
            // The cheaper question first: in a long prompt most keywords have been found before.
            let known = found.iter().any(|known| known.eq_ignore_ascii_case(word));
            if !known && is_keyword(word) {
                found.push(word.to_owned());
            }
        }
        read += line.len();
        if read >= READ {
            return;
        }
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric())
        .flat_map(|run| run.split(is_function_character))
        .flat_map(scripts)
        // What is left of `一款` and `一篇`.
        .map(|word| word.trim_end_matches('一'))
}

/// Cuts where Chinese and other letters meet, and Chinese runs into readable lengths.
fn scripts(run: &str) -> impl Iterator<Item = &str> {
    const LONGEST_HAN: usize = 8;
    let mut rest = run;
    std::iter::from_fn(move || {
        let first = is_han(rest.chars().next()?);
        let longest = if first { LONGEST_HAN } else { usize::MAX };
        let end = rest
            .char_indices()
            .enumerate()
            .find(|&(i, (_, c))| i == longest || is_han(c) != first)
            .map_or(rest.len(), |(_, (at, _))| at);
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    })
}

/// Chinese is written without spaces; its commonest function characters separate words well enough here.
fn is_function_character(c: char) -> bool {
    !c.is_ascii()
        && "的了和是在与及对请把将为我你他她它们这那有什么怎样如何吗呢吧啊并或从到以于而其给让用被就也都还要会能可写篇款"
        .contains(c)
}

fn is_keyword(word: &str) -> bool {
    const STOP: &[&str] = &[
        "about",
        "above",
        "after",
        "also",
        "answer",
        "because",
        "been",
        "before",
        "between",
        "both",
        "could",
        "does",
        "each",
        "explain",
        "find",
        "following",
        "from",
        "give",
        "have",
        "here",
        "into",
        "itself",
        "just",
        "like",
        "list",
        "make",
        "many",
        "more",
        "most",
        "much",
        "must",
        "only",
        "other",
        "over",
        "please",
        "question",
        "same",
        "should",
        "some",
        "such",
        "tell",
        "text",
        "than",
        "that",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "user",
        "using",
        "very",
        "want",
        "what",
        "when",
        "where",
        "which",
        "while",
        "will",
        "with",
        "would",
        "write",
        "your",
    ];
    if word.chars().next().is_some_and(is_han) {
        return word.chars().nth(1).is_some() && !is_own(word);
    }
    word.len() > 3
        && word.chars().any(char::is_alphabetic)
        && !is_item_id(word)
        && !STOP.iter().any(|stop| stop.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_keywords_skip_the_common_words() {
        let theme = Theme::of("How does battery recycling work? Please explain battery chemistry.");
        assert_eq!(theme.language, Language::English);
        assert_eq!(
            theme.subject,
            "How does battery recycling work? Please explain battery chemistry"
        );
        assert_eq!(theme.keywords, ["battery", "recycling", "work", "chemistry"]);
    }

    #[test]
    fn chinese_keywords_are_split_at_function_characters() {
        let theme = Theme::of("请分析动力电池回收的市场规模和Rust工具");
        assert_eq!(theme.language, Language::Chinese);
        assert_eq!(theme.keywords, ["分析动力电池回收", "市场规模", "Rust", "工具"]);
    }

    #[test]
    fn words_of_no_theme_are_no_keywords() {
        let theme = Theme::of("推广一款儿童防晒霜，写一篇市场分析，参考insight1");
        assert_eq!(theme.keywords, ["推广", "儿童防晒霜", "市场分析", "参考"]);
    }

    #[test]
    fn what_is_asked_comes_first_and_every_part_has_its_share() {
        let theme = Theme::of(
            "# 背景\n<<<background\n甲乙、乙丙、丙丁、丁戊、戊己\nbackground>>>\n\
             # 结果\n<<<results\n洋流：潮汐、海浪\nresults>>>\n\
             # 任务\n<<<task\n## 标题\n防晒、通勤、露营、骑行、垂钓、滑雪、潜水、攀岩、冲浪\ntask>>>\n",
        );
        assert_eq!(
            theme.subject,
            "防晒、通勤、露营、骑行、垂钓、滑雪、潜水、攀岩、冲浪"
        );
        let (asked, material) = theme.keywords.split_at(8);
        assert_eq!(
            asked,
            ["防晒", "通勤", "露营", "骑行", "垂钓", "滑雪", "潜水", "攀岩"]
        );
        assert_eq!(material, ["甲乙", "乙丙", "洋流", "潮汐"]);
    }

    #[test]
    fn the_beginning_fills_up_what_the_parts_leave() {
        let theme = Theme::of("# 背景\n甲乙、乙丙、丙丁、丁戊、戊己、己庚、庚辛\n# 结果\n洋流\n# 任务\n防晒");
        assert_eq!(
            theme.keywords,
            [
                "防晒", "甲乙", "乙丙", "丙丁", "丁戊", "戊己", "洋流", "己庚", "庚辛"
            ]
        );
    }

    #[test]
    fn a_long_prompt_is_read_from_its_end() {
        let text = format!("Photosynthesis\n{}\nVolcanoes\n", "of an on\n".repeat(100));
        assert_eq!(Theme::of(&text).keywords, ["Volcanoes", "Photosynthesis"]);
    }

    #[test]
    fn an_empty_prompt_still_has_a_theme() {
        let theme = Theme::of(" \n");
        assert_eq!(
            (theme.subject.as_str(), theme.keywords.len()),
            ("your question", 2)
        );
    }
}
