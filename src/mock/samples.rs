//! The sample texts of a rehearsal, for readers who see nova3 for the first time.

use super::topic::{AnswerLanguage, Topic};

/// One row for each action of the embedded agents and each language: the task in a plan, then the title and the content
/// of each item. Rows whose names have a space are not actions: a plain answer has an opening, a closing and points,
/// `last line` ends each content, and `found fact` says where a fact can be used. `%s` is replaced by the subject of the
/// prompt.
const TABLE: &str = r"
plain answer | zh | 关于“%s”，这是模拟服务器的样例，不是模型的回答。 | 换成真实的模型，这里就是它的回答。 | 先给结论，再给理由。 | 举一个具体的场景，说明结论在哪里成立。 | 写出还不确定的地方，以及怎样核实。 | 留一步今天就能做的事。
plain answer | en | On “%s”: this is a sample of the mock server, not the answer of a model. | A real run has the model's answer here. | Give the conclusion first, then the reason. | Name one concrete case in which it holds. | Say what is still uncertain and how to check it. | End with one step that can be taken today.
last line | zh | （样例：“%s”）
last line | en | (Sample for “%s”)
found fact | zh | 可以放在讲“%s”的开头，作为依据。
found fact | en | It can open a text on “%s” as its evidence.
search query | zh | %s | %s 价格 | %s 使用体验
search query | en | %s | %s price | %s reviews
three tags | zh | 省时间 | 新手入门 | 换季清单
three tags | en | timesaver | beginners | checklist
other task | zh | 处理“%s”
other task | en | Work on “%s”
insight | zh | 找出“%s”背后的原因 | 人们想少选一次 | 嘴上要更多选择，心里怕选错。内容先给一个结论，再给两句理由。 | 试错的时间被低估 | 大家不怕花钱，怕很晚才知道不合适。内容先讲怎样试几天。 | 同类内容都在讲参数 | 参数没有人记得住。内容改讲一个具体的早晨，参数放在后面。
insight | en | Find what lies behind “%s” | Fewer choices | People ask for more choice and fear the wrong one. Give one conclusion, then two reasons. | Trying costs time | Money is not the worry, finding out late is. Show what a trial of three days looks like. | Figures get lost | Other posts list figures that readers forget. Describe one morning and put the figures last.
profile | zh | 细分“%s”的人群 | 照着做的新手 | 第一次接触，想要一个能照做的办法。晚上搜教程，看到清单就收藏。 | 没有时间的熟手 | 用过几种，嫌麻烦。早上只看标题，会为一个省事的细节停下来。 | 替别人选的人 | 给家人或同事买，怕选错。会翻评论，相信具体的场景。
profile | en | Divide the audience of “%s” | Careful beginners | New to it, they want steps to follow. They search in the evening and save lists. | Busy regulars | They know the options and want less effort. They read headlines in the morning and stop for one detail. | Choosing for others | They buy for family or colleagues and fear a bad pick. They read comments and trust concrete cases.
hitpoint | zh | 为“%s”定内容角度 | 从一个小麻烦讲起 | 先写大家每天都遇到的一步，再给一个马上能做的办法。 | 只比较两样 | 不做大测评，只拿常见的两样按一个标准比，让人当场能选。 | 选错一次的经过 | 讲一次没选好的过程和补救的办法，让人愿意说自己的经历。
hitpoint | en | Find an angle for “%s” | One small nuisance | Begin with a step that annoys people every day, then give one remedy to try at once. | Compare only two | Compare the two most common options by one standard, so that readers can decide at once. | A choice gone wrong | Describe one bad choice and how it was put right, so that readers add their own.
facts | zh | 核实“%s”用到的事实 | 待核实 | 待核实：多数人第一次按价格选。材料里没有依据。 | 待核实 | 待核实：换季前后搜索变多。材料里没有数字。
facts | en | Check the facts behind “%s” | To be checked | To be checked: most people choose by price the first time. The material does not say so. | To be checked | To be checked: searches rise when the season changes. The material gives no figure.
xhs_writing | zh | 为“%s”写小红书笔记 | 早上少一步，就不慌了 | 早上总要手忙脚乱。\n\n只改了一步：前一晚把要用的放在一起，早上照顺序拿。\n\n你想省掉哪一步？ | 第一次买，先看这三点 | 先想在哪里用，再想一天用几次，然后才看价格。\n\n三点写在纸上，逛的时候就不会乱。\n\n你会先看哪一点？ | 试过以后，换了做法 | 先照说明做，后来嫌麻烦，最后只留下有用的一步。\n\n办法不用多，能坚持就行。\n\n你试过多久？
xhs_writing | en | Write a RedNote post on “%s” | One step less | Mornings were too short.\n\nOne change helped: everything is laid out in order the evening before.\n\nWhich step would you drop? | Three checks first | Where will you use it, how often, and only then: what does it cost?\n\nWrite the three down before you go shopping.\n\nWhich check comes first for you? | After a few tries | First by the book, then too much work, at last only the step that helps.\n\nA few steps that last are enough.\n\nHow many days did you try?
tiktok_script | zh | 为“%s”写抖音口播脚本 | 一口气讲清一件事 | 【0-3秒】近景｜口播：是不是每天都卡在这一步？\n【3-25秒】演示｜口播：先做这个，再做那个，两步就够。\n【25-30秒】回到开头｜口播：你会先试哪一步？ | 先别再买一样 | 【0-3秒】中景｜口播：桌上这几样，你用得上几个？\n【3-25秒】逐个拿开｜口播：一周没碰的，先收起来。\n【25-30秒】全景｜口播：你会先收哪一个？
tiktok_script | en | Write a TikTok script on “%s” | One thing at a time | [0-3 s] Close-up: Stuck at this step every day?\n[3-25 s] Demonstration: Do this, then that. Two steps are enough.\n[25-30 s] Back to the start: Which one will you try? | Keep what you use | [0-3 s] Desk: How many of these do you use?\n[3-25 s] Hands: Untouched for a week? Put it away.\n[25-30 s] Whole desk: Which one goes first?
wechat_article | zh | 为“%s”写公众号文章 | 为什么总是选不好 | ## 一个场景\n人已经累了，还要做选择，于是拿了近的那个。\n\n## 可以怎么做\n先定一个标准，再只比较两样。今天就能试一次。 | 把复杂的事讲短 | ## 为什么要短\n读的人只有几分钟，记得住的只有一件事。\n\n## 怎样讲短\n先写结论，再删掉不影响结论的话。
wechat_article | en | Write a WeChat article on “%s” | Why choices go wrong | ## A scene\nPeople are tired and still have to choose, so they take what is nearest.\n\n## What to do\nSet one standard, then compare two things only. Try it today. | Make it short | ## Why short\nReaders have a few minutes and keep one thing.\n\n## How\nWrite the conclusion, then delete what it does not need.
";

/// Words in the first line of the instructions of each embedded agent that has a row. They identify the agent of a
/// Messages request, which has no other name of it.
const FIRST_LINES: [(&str, &str); 7] = [
    ("insight", "洞察策划"),
    ("profile", "人群策略师"),
    ("hitpoint", "爆款选题操盘手"),
    ("facts", "事实核查编辑"),
    ("xhs_writing", "小红书头部品牌号的主笔"),
    ("tiktok_script", "抖音品牌号的编导"),
    ("wechat_article", "品牌公众号的主编"),
];

/// Returns the action of the embedded agent that has these instructions.
pub(crate) fn action_of(instructions: &str) -> Option<&'static str> {
    let first = instructions.lines().next()?;
    let found = FIRST_LINES.iter().find(|(_, words)| first.contains(words));
    found.map(|(action, _)| *action)
}

/// The texts of a row.
pub(crate) type SampleRow = Vec<&'static str>;

/// Returns the row of an action or of another name in the table.
pub(crate) fn row(name: &str, language: AnswerLanguage) -> Option<SampleRow> {
    let language = match language {
        AnswerLanguage::Chinese => "zh",
        AnswerLanguage::English => "en",
    };
    TABLE.lines().find_map(|line| {
        let mut cells = line.split(" | ");
        (cells.next()? == name && cells.next()? == language).then(|| cells.collect())
    })
}

/// Returns the number of items in the row of an action.
pub(crate) fn items(row: &SampleRow) -> usize {
    row.len() / 2
}

/// Returns the text in the row of an action for the property `name` of the item with this number.
pub(crate) fn text(row: &SampleRow, name: &str, topic: &Topic<'_>, item: usize) -> Option<String> {
    let title = 1 + 2 * (item % items(row).max(1));
    let cell = |place: usize| row.get(place).map(|text| text.replace(r"\n", "\n"));
    let text = match name {
        "description" | "input" => cell(0)?,
        "title" => cell(title)?,
        "content" => cell(title + 1)? + "\n" + &self::row("last line", topic.language)?.concat(),
        // The tags of an item must differ, so there are at most as many as in the table.
        "tags" | "search_words" if items(row) > 0 => {
            (*self::row("three tags", topic.language)?.get(item)?).to_owned()
        }
        _ => return None,
    };
    Some(text.replace("%s", &topic.subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_whole() {
        for line in TABLE.trim().lines() {
            let [name, language, texts @ ..] = &line.split(" | ").collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let whole = match *name {
                "plain answer" => texts.len() == 6,
                "last line" | "other task" | "found fact" => texts.len() == 1,
                "three tags" | "search query" => texts.len() == 3,
                _ => [5, 7].contains(&texts.len()),
            };
            assert!(whole && texts.iter().all(|text| !text.is_empty()), "{line}");
            let other = if *language == "zh" { "en" } else { "zh" };
            assert!(TABLE.contains(&format!("\n{name} | {other} | ")), "{line}");
        }
    }

    #[test]
    fn each_embedded_agent_is_known_by_its_first_line() {
        for (action, _) in FIRST_LINES {
            let path = format!("{}/agents/{action}.toml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).expect("an agent");
            let agent: toml::Table = text.parse().expect("TOML");
            let instructions = agent["system"].as_str().expect("instructions");
            assert_eq!(action_of(instructions), Some(action));
            assert!(row(action, AnswerLanguage::Chinese).is_some());
        }
        assert_eq!(action_of("Answer."), None);
    }

    #[test]
    fn titles_fit_a_post_and_items_differ() {
        for prompt in ["比较热泵与燃气锅炉", "Compare heat pumps with gas boilers"] {
            let topic = Topic::of(prompt);
            for action in [
                "insight",
                "profile",
                "hitpoint",
                "facts",
                "xhs_writing",
                "tiktok_script",
                "wechat_article",
            ] {
                let row = row(action, topic.language).expect("a row");
                let text = |name, item| text(&row, name, &topic, item);
                assert!(items(&row) >= 2);
                for item in 0..items(&row) {
                    let title = text("title", item).expect("a title");
                    assert!((1..=20).contains(&title.chars().count()), "{title}");
                    let content = text("content", item).expect("a content");
                    assert!(
                        content.contains(prompt) && !content.contains(['%', '\\']),
                        "{content}"
                    );
                    assert_ne!(text("content", item + 1), Some(content));
                }
                assert!(text("input", 0).is_some_and(|task| task.contains(prompt)));
                assert_eq!((text("cover", 0), text("tags", 3)), (None, None));
            }
        }
    }

    #[test]
    fn a_subject_is_quoted_as_it_is() {
        let topic = Topic::of(r"30% of %s\n");
        let row = row("other task", topic.language).expect("a row");
        let made = text(&row, "input", &topic, 0);
        assert_eq!(made.as_deref(), Some(r"Work on “30% of %s\n”"));
    }
}
