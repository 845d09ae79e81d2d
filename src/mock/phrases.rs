//! What the mock says of its own accord, in each language that it speaks.
//!
//! In a template `%s` stands for the subject of a prompt, `%a` and `%b` for two of its keywords. A Chinese
//! slot stands between function characters or signs, at which keywords are cut: an answer that comes back as
//! the material of a later prompt gives the same keywords again, not longer and longer ones.

/// The language an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

/// The templates of a language.
pub(crate) struct Phrases {
    pub(crate) opening: &'static str,
    pub(crate) points: &'static [&'static str],
    pub(crate) closing: &'static str,
    pub(crate) titles: &'static [&'static str],
    /// What follows the goal of a task.
    pub(crate) details: &'static [&'static str],
    /// What makes another tag of a keyword.
    pub(crate) endings: &'static [&'static str],
}

impl Language {
    pub(crate) fn phrases(self) -> &'static Phrases {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

const ENGLISH: Phrases = Phrases {
    opening: "On “%s”: the short answer turns on %a and on how it relates to %b.\n",
    points: &[
        "Start from what is known about %a, then check it against %b.",
        "%a matters most where %b is uncertain; measure it before deciding.",
        "Compare %a with %b over the same period and note where they part.",
        "The main risk is to treat %a as settled while %b is still changing.",
        "A small trial of %a, with %b as the yardstick, is a cheap first step.",
        "Most sources agree on %a; they differ on what it means for %b.",
    ],
    closing: "\nIn short: begin with %a, keep %b in view, and look again when new facts arrive.",
    titles: &["%a %b"],
    details: &[
        ", with “%b” in view.",
        ", starting from “%b”, and give a reason for each point.",
        ", and say how it relates to “%b”.",
    ],
    endings: &["tips", "guide", "ideas", "review"],
};

const CHINESE: Phrases = Phrases {
    opening: "关于“%s”：关键在于%a，以及它与%b的关系。\n",
    points: &[
        "对%a的已知事实先做确认，再与%b对照。",
        "在%b还不确定时，%a的影响最大，应先测量再决定。",
        "在同一时期里，%a与%b的差异最值得记录。",
        "主要风险是把%a的现状当作定论，而%b还在变化。",
        "可以先对%a的一小部分做试验，并以%b为衡量标准。",
        "多数资料对%a的看法一致，分歧在于它对%b的影响。",
    ],
    closing: "\n总之，先从%a的现状入手，再看它与%b的关系，有新信息时再复核。",
    titles: &["%a与%b", "%a：%b", "从%a到%b"],
    details: &[
        "，重点结合“%b”。",
        "，从“%b”入手，每一点都要有依据。",
        "，并说明它与“%b”的关系。",
    ],
    endings: &["攻略", "推荐", "测评", "清单"],
};

/// An action that the mock can speak of.
pub(crate) struct Act {
    pub(crate) action: &'static str,
    /// What names the outlet that the action writes for, in lower case.
    pub(crate) outlet: &'static [&'static str],
    /// What is to be done about a keyword.
    chinese: &'static str,
    english: &'static str,
}

impl Act {
    pub(crate) fn goal(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}

pub(crate) const ACTS: &[Act] = &[
    Act {
        action: "insight",
        outlet: &[],
        chinese: "洞察“%a”的市场与需求",
        english: "Find insights on “%a”",
    },
    Act {
        action: "profile",
        outlet: &[],
        chinese: "描绘“%a”的目标人群",
        english: "Profile the people who care about “%a”",
    },
    Act {
        action: "hitpoint",
        outlet: &[],
        chinese: "提炼“%a”最打动人的点",
        english: "Name what convinces people of “%a”",
    },
    Act {
        action: "facts",
        outlet: &[],
        chinese: "查证“%a”的事实与数据",
        english: "Check facts and figures on “%a”",
    },
    Act {
        action: "xhs_writing",
        outlet: &["小红书", "xhs", "rednote"],
        chinese: "写一篇“%a”的小红书笔记",
        english: "Write a rednote post on “%a”",
    },
    Act {
        action: "tiktok_script",
        outlet: &["抖音", "短视频", "tiktok", "douyin"],
        chinese: "写一篇“%a”的抖音脚本",
        english: "Write a TikTok script on “%a”",
    },
    Act {
        action: "wechat_article",
        outlet: &["公众号", "微信", "wechat"],
        chinese: "写一篇“%a”的公众号文章",
        english: "Write a WeChat article on “%a”",
    },
];

/// An action without a line of its own.
pub(crate) const OTHER: Act = Act {
    action: "",
    outlet: &[],
    chinese: "处理与“%a”有关的问题",
    english: "Work on “%a”",
};

/// Whether a Chinese `word` may come from the mock itself, which says nothing about the theme of a prompt.
pub(crate) fn is_own(word: &str) -> bool {
    let singles = [CHINESE.opening, CHINESE.closing, OTHER.chinese];
    let goals = ACTS.iter().map(|act| act.chinese);
    let lists = CHINESE.points.iter().chain(CHINESE.details);
    let mut templates = lists.copied().chain(goals).chain(singles);
    templates.any(|template| template.contains(word))
}

#[cfg(test)]
mod tests {
    use super::super::answer::fill_with;
    use super::super::keywords::Theme;
    use super::*;

    #[test]
    fn chinese_answers_give_their_keywords_back() {
        let goals = ACTS.iter().chain([&OTHER]).map(|act| act.chinese);
        let lists = [CHINESE.points, CHINESE.details, CHINESE.titles].concat();
        let singles = [CHINESE.opening, CHINESE.closing];
        for template in lists.into_iter().chain(goals).chain(singles) {
            let mut text = String::new();
            fill_with(&mut text, template, "动力电池", ("动力电池", "充电桩"));
            let mut keywords = Theme::of(&text).keywords;
            keywords.retain(|word| !["主题", "背景"].contains(&word.as_str()));
            keywords.sort();
            let mut expected = vec!["充电桩", "动力电池"];
            expected.retain(|word| text.contains(word));
            assert_eq!(keywords, expected, "{text}");
        }
    }
}
