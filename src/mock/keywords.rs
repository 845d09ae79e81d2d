//! What a prompt is about: its language, its subject and its keywords.

use super::tokens::is_han;

/// Long prompts carry sources and instructions; their beginning is enough to sound like an answer.
const READ: usize = 2_000;
const ENOUGH: usize = 12;

/// The language an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

/// The theme of one prompt.
#[derive(Debug)]
pub(crate) struct Theme {
    pub(crate) language: Language,
    /// The last line of the prompt that is no heading, cut to a readable length: prompts end in what they ask.
    pub(crate) subject: String,
    /// At least two, in the order of their first appearance.
    pub(crate) keywords: Vec<String>,
}

impl Theme {
    pub(crate) fn of(text: &str) -> Self {
        let language = if !text.is_ascii() && text.chars().any(is_han) {
            Language::Chinese
        } else {
            Language::English
        };
        Self {
            language,
            subject: subject(text, language),
            keywords: keywords(text, language),
        }
    }
}

fn subject(text: &str, language: Language) -> String {
    let (longest, fallback) = match language {
        Language::English => (80, "your question"),
        Language::Chinese => (40, "这个问题"),
    };
    let first = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or(fallback);
    let first = first.trim_end_matches(['?', '.', '!', ':', '？', '。', '！', '：']);
    match first.char_indices().nth(longest) {
        Some((cut, _)) => format!("{}…", &first[..cut]),
        None => first.to_owned(),
    }
}

fn keywords(text: &str, language: Language) -> Vec<String> {
    let mut found: Vec<String> = Vec::with_capacity(ENOUGH);
    let head = text
        .char_indices()
        .nth(READ)
        .map_or(text, |(cut, _)| &text[..cut]);
    for run in head.split(|c: char| !c.is_alphanumeric()) {
        for word in run.split(is_function_character).flat_map(scripts) {
            if is_keyword(word) && !found.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                found.push(word.to_owned());
                if found.len() == ENOUGH {
                    return found;
                }
            }
        }
    }
    let spare = match language {
        Language::English => ["the topic", "the context"],
        Language::Chinese => ["主题", "背景"],
    };
    let missing = 2usize.saturating_sub(found.len());
    found.extend(spare.iter().take(missing).map(|&word| word.to_owned()));
    found
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
        && "的了和是在与及对请把将为我你他她它们这那有什么怎样如何吗呢吧啊并或从到以于而其给让用被就也都还要会能可"
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
        return word.chars().nth(1).is_some();
    }
    word.len() > 3
        && word.chars().any(char::is_alphabetic)
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
    fn an_empty_prompt_still_has_a_theme() {
        let theme = Theme::of(" \n");
        assert_eq!(
            (theme.subject.as_str(), theme.keywords.len()),
            ("your question", 2)
        );
    }
}
