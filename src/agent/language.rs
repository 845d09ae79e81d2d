//! The language of a request. The built-in prompts are Chinese; an answer is Chinese only if its request is.

/// The language of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Chinese, or a text without letters.
    Chinese,
    /// Any other.
    Other,
}

impl Language {
    /// Returns the language of a request with this query and this instruction. The instruction counts only without a
    /// query.
    pub(super) fn of(query: &str, input: &str) -> Self {
        let question = if query.is_empty() { input } else { query };
        match shares(question, 1) {
            Some(shares) if shares.han < 0.3 || shares.kana_or_hangul > 0.05 => Self::Other,
            _ => Self::Chinese,
        }
    }

    /// Returns the message that asks a model to correct its answer.
    pub(super) fn repair(self, wrong: &str) -> String {
        match self {
            Self::Chinese => format!(
                "上面的回答不能使用：{wrong}\n请改正后重新给出完整的回答，形式和语言要求不变，不要解释。"
            ),
            Self::Other => format!(
                "The answer above cannot be used: {wrong}\nCorrect it and give the whole answer again, in the same form \
                 and in the language of the request. Do not explain."
            ),
        }
    }

    /// Returns the instruction in front of the schema.
    pub(super) const fn before_schema(self) -> &'static str {
        match self {
            Self::Chinese => {
                "只输出一个 JSON 对象，不要代码块标记，不要任何解释。它必须符合这个 JSON Schema："
            }
            Self::Other => {
                "Give one JSON object, without a code fence and without any explanation. It must fit this JSON Schema:"
            }
        }
    }
}

/// Letters that a text needs before its language counts. A Chinese question may have as few.
const TELLING: u32 = 4;

/// Whether a Chinese question has an answer without Chinese, or a question without Chinese an answer in Chinese. A
/// question that names a language or asks for a translation never counts.
pub(super) fn is_another_language(question: &str, answer: &str) -> bool {
    const NAMED: [&str; 10] = [
        "英文", "英语", "翻译", "日语", "日文", "中文", "双语", "nglish", "ranslat", "hinese",
    ];
    if NAMED.iter().any(|name| question.contains(name)) {
        return false;
    }
    match (shares(question, TELLING), shares(answer, TELLING)) {
        (Some(asked), Some(said)) => {
            (asked.han > 0.3 && said.han < 0.05) || (asked.han < 0.01 && said.han > 0.5)
        }
        _ => false,
    }
}

/// The shares of scripts among the letters of a text.
struct Shares {
    han: f64,
    kana_or_hangul: f64,
}

/// Returns the shares of a text; `None` if it has fewer than `least` letters.
fn shares(text: &str, least: u32) -> Option<Shares> {
    let (mut han, mut kana_or_hangul, mut letters) = (0_u32, 0_u32, 0_u32);
    for c in text.chars().filter(|c| c.is_alphabetic()).take(2000) {
        letters += 1;
        han += u32::from(matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'));
        kana_or_hangul += u32::from(matches!(c, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7a3}'));
    }
    let share = |count: u32| f64::from(count) / f64::from(letters);
    (letters >= least).then(|| Shares {
        han: share(han),
        kana_or_hangul: share(kana_or_hangul),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_another_language_is_noticed() {
        let chinese = "怎样写好一篇小红书笔记？";
        let english = "How do I write a good post about coffee?";
        assert!(is_another_language(
            chinese,
            "Begin with a hook and keep it short."
        ));
        assert!(is_another_language(english, "先写一个钩子，然后说清楚卖点。"));
        assert!(!is_another_language(
            chinese,
            "先用 hook，再讲 selling point，最后互动。"
        ));
        assert!(!is_another_language(english, "Begin with a hook (钩子)."));
        assert!(!is_another_language(
            "把这句话翻译成英文：你好",
            "Hello there, my friend."
        ));
        assert!(!is_another_language("", "text"));
    }

    #[test]
    fn a_request_has_the_language_of_its_query() {
        for (query, input, language) in [
            ("怎样写好一篇小红书笔记？", "write", Language::Chinese),
            ("Write a post about 小红书, please", "写", Language::Other),
            ("", "Write a post", Language::Other),
            ("どうすれば良い文章を書けますか", "写", Language::Other),
            ("用 A/B test 看 hook 好不好", "", Language::Chinese),
            ("how?", "", Language::Other),
            ("??", "", Language::Chinese),
        ] {
            assert_eq!(Language::of(query, input), language, "{query}");
        }
    }
}
