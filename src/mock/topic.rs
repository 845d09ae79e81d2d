//! The topic of a prompt: its language and its subject.
//!
//! A prompt may have parts, under headings (`# …`) and between fences (`<<<name`, `name>>>`). The last part
//! with text is the question. A prompt without parts is the question as a whole. Text after a closing fence is not a
//! part: it tells the model how to answer.

use super::tokens::is_han;

/// The language of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerLanguage {
    Chinese,
    English,
}

/// The topic of one prompt.
#[derive(Debug)]
pub(crate) struct Topic<'a> {
    /// The whole prompt.
    pub(crate) prompt: &'a str,
    /// Chinese if the question has a Han character.
    pub(crate) language: AnswerLanguage,
    /// The last line of the question, or the first quoted passage in it, cut to a readable length.
    pub(crate) subject: String,
}

impl<'a> Topic<'a> {
    /// Returns the first ids of items that stand between fences: `insight1`.
    pub(crate) fn item_ids(&self) -> Vec<&'a str> {
        const MOST: usize = 2;
        let opened = self.prompt.lines().filter_map(|line| line.strip_prefix("<<<"));
        let is_id = |name: &&str| name.is_ascii() && name.ends_with(|c: char| c.is_ascii_digit());
        opened.filter(is_id).take(MOST).collect()
    }

    pub(crate) fn of(prompt: &'a str) -> Self {
        let (mut last, mut language, mut part_ended) = ("", AnswerLanguage::English, false);
        let mut is_behind_fence = false;
        for line in prompt.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if is_heading_or_fence(line) {
                part_ended = true;
                is_behind_fence = line.ends_with(">>>");
                continue;
            }
            if is_behind_fence {
                continue;
            }
            if std::mem::take(&mut part_ended) {
                language = AnswerLanguage::English;
            }
            if line.chars().any(is_han) {
                language = AnswerLanguage::Chinese;
            }
            last = line;
        }
        Self {
            prompt,
            language,
            subject: subject(last, language),
        }
    }
}

fn is_heading_or_fence(line: &str) -> bool {
    line.starts_with("<<<") || line.ends_with(">>>") || line.trim_start_matches('#').starts_with(' ')
}

fn subject(line: &str, language: AnswerLanguage) -> String {
    let (longest, fallback) = match language {
        AnswerLanguage::Chinese => (40, "这个问题"),
        AnswerLanguage::English => (80, "your question"),
    };
    // An instruction from a plan of the mock quotes the subject of the plan and may end with the plan's marker.
    let line = line.split_once(" [mock ").map_or(line, |(before, _)| before);
    let quoted = line.split_once('“').and_then(|(_, rest)| rest.split_once('”'));
    let subject = quoted.map_or(line, |(quoted, _)| quoted);
    let subject = subject.trim_end_matches(['?', '.', '!', ':', '？', '。', '！', '：']);
    match subject.char_indices().nth(longest) {
        _ if subject.is_empty() => fallback.to_owned(),
        Some((cut, _)) => format!("{}…", &subject[..cut]),
        None => subject.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(prompt: &str) -> (AnswerLanguage, String) {
        let topic = Topic::of(prompt);
        (topic.language, topic.subject)
    }

    #[test]
    fn the_last_part_with_text_is_the_question() {
        for (prompt, language, subject) in [
            (
                "Why is the sky blue?",
                AnswerLanguage::English,
                "Why is the sky blue",
            ),
            (
                "比较热泵与燃气锅炉。\n",
                AnswerLanguage::Chinese,
                "比较热泵与燃气锅炉",
            ),
            (
                "# 背景\n<<<背景\n母婴\n背景>>>\n# 任务\n<<<任务\nWrite\na post\n任务>>>\n",
                AnswerLanguage::English,
                "a post",
            ),
            (
                "# 需求\n<<<需求\n写笔记\n#防晒 #通勤\n需求>>>\n# 任务\n\n<<<任务\n\n任务>>>",
                AnswerLanguage::Chinese,
                "#防晒 #通勤",
            ),
            (
                "# 任务\n\n<<<任务\n写一篇\n任务>>>\n\nAnswer in English.\n",
                AnswerLanguage::Chinese,
                "写一篇",
            ),
            ("用中文\nanswer", AnswerLanguage::Chinese, "answer"),
            (" \n", AnswerLanguage::English, "your question"),
        ] {
            assert_eq!(topic(prompt), (language, subject.to_owned()), "{prompt}");
        }
    }

    #[test]
    fn a_planned_instruction_has_the_subject_of_its_plan() {
        for line in ["为“热泵”定内容角度", "为“热泵”定内容角度 [mock 1234abcd]"] {
            assert_eq!(topic(line).1, "热泵");
        }
        assert_eq!(topic("处理 [mock 1234abcd]").1, "处理");
    }

    #[test]
    fn a_long_subject_is_cut() {
        assert_eq!(topic(&"热".repeat(41)).1, format!("{}…", "热".repeat(40)));
        assert_eq!(topic(&"a".repeat(80)).1, "a".repeat(80));
    }
}
