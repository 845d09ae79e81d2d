//! The results of a search: sample sentences about the query, with figures. Every text says that it is a sample.

use fastrand::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tokens::is_han;

/// One row for each result: its title, then its sentences. `%q` is the query, `%m` a number of people, `%n` a smaller
/// one, `%p` a share in percent and `%y` an amount of money.
const CHINESE: [&[&str]; 5] = [
    &[
        "%q：一次试用的记录",
        "2026年3月的一次试用里，%m 个人有 %n 个人愿意继续用“%q”。",
        "不愿意继续用的人都说，步骤太多，早上来不及。",
        "试用一共 14 天，每个人每天记一次感受。",
    ],
    &[
        "%q怎么选：价格与规格",
        "2026年4月，常见的三种“%q”单价是 %y 元到 %y2 元。",
        "价格差在规格上，用法没有差别。",
        "买之前先看清一次的用量，再比较每次的花费。",
    ],
    &[
        "关于%q的 %m 份问卷",
        "%m 个受访者里，有 %n 个人第一次听说“%q”是因为朋友推荐。",
        "%p% 的人会在晚上九点以后查资料。",
        "问卷在 2026年2月收集，只来自两个城市。",
    ],
    &[
        "%q：常见的三个误解",
        "最常见的误解是，“%q”越贵越好用。",
        "在一次盲测里，%m 个人只有 %n 个人选中了最贵的一种。",
        "另外两个误解是用得越多越好，以及开封以后可以放一年。",
    ],
    &[
        "%q的使用清单",
        "清单只有四步，按顺序做一遍大约 6 分钟。",
        "照清单做的 %m 个人里，有 %n 个人一周以后还在用“%q”。",
        "没有坚持的人，多半在第二天漏了第一步。",
    ],
];

const ENGLISH: [&[&str]; 5] = [
    &[
        "%q: notes on a trial",
        "In a trial in March 2026, %n of %m people wanted to go on with “%q”.",
        "The others said that it takes too many steps in the morning.",
        "The trial lasted 14 days, with one note a day from each person.",
    ],
    &[
        "Choosing %q: prices and sizes",
        "In April 2026 the three common kinds of “%q” cost $%y to $%y2.",
        "The price follows the size and not the use.",
        "Check how much one use needs, then compare the cost of each use.",
    ],
    &[
        "%m answers about %q",
        "Of %m people who were asked, %n first heard of “%q” from a friend.",
        "%p% look for advice after nine in the evening.",
        "The answers were collected in February 2026, in two cities only.",
    ],
    &[
        "%q: three common mistakes",
        "The most common mistake is to believe that a higher price makes “%q” better.",
        "In a blind test, %n of %m people chose the most expensive one.",
        "The other two mistakes are to use too much, and to keep it open for a year.",
    ],
    &[
        "A checklist for %q",
        "The checklist has four steps and takes about 6 minutes.",
        "Of %m people who followed it, %n still used “%q” a week later.",
        "Most of the others left out the first step on the second day.",
    ],
];

/// The last sentence of each text.
const MARK: [&str; 2] = [
    "（模拟服务器的样例文字，不是真实的资料。）",
    "(Sample text of the mock server, not real material.)",
];

/// The most characters of the query in a text.
const SUBJECT: usize = 40;

/// Returns the first `most` results for a query, in the language of the query.
pub(crate) fn results(query: &str, seed: u64, most: usize) -> Vec<Value> {
    let digest = Sha256::digest(query.as_bytes());
    let drawn = digest
        .iter()
        .take(8)
        .fold(0_u64, |seed, byte| seed << 8 | u64::from(*byte));
    let mut rng = Rng::with_seed(drawn ^ seed);
    let subject: String = query.chars().take(SUBJECT).collect();
    let (table, mark) = if query.chars().any(is_han) {
        (&CHINESE, MARK[0])
    } else {
        (&ENGLISH, MARK[1])
    };
    let rows = table.iter().enumerate().take(most);
    rows.map(|(place, row)| {
        let filled = Figures::draw(&mut rng);
        let mut texts = row.iter().map(|text| filled.put_into(text, &subject));
        let title = texts.next().unwrap_or_default();
        let separator = if mark.is_ascii() { " " } else { "" };
        let sentences: Vec<String> = texts.chain([mark.to_owned()]).collect();
        json!({
            "title": title,
            "url": format!("https://example.com/mock/{:08x}/{}", drawn >> 32, place + 1),
            "content": sentences.join(separator),
            "published_at": format!("2026-0{}-{:02}", place + 2, rng.u8(1..=28)),
        })
    })
    .collect()
}

/// The figures of one text.
struct Figures {
    people: u32,
    some: u32,
    percent: u32,
    low: u32,
    high: u32,
}

impl Figures {
    fn draw(rng: &mut Rng) -> Self {
        let (people, low) = (rng.u32(12..=60), rng.u32(19..=99));
        Self {
            people,
            some: rng.u32(people / 2..people),
            percent: rng.u32(40..=80),
            low,
            high: low + rng.u32(20..=120),
        }
    }

    /// The query is put in last, so that its own text is not taken for a figure.
    fn put_into(&self, text: &str, subject: &str) -> String {
        text.replace("%m", &self.people.to_string())
            .replace("%n", &self.some.to_string())
            .replace("%p", &self.percent.to_string())
            .replace("%y2", &self.high.to_string())
            .replace("%y", &self.low.to_string())
            .replace("%q", subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_about_the_query_and_repeat() {
        for query in ["燕麦奶 市场", "oat milk 50%m"] {
            let found = results(query, 1, 5);
            assert_eq!(found, results(query, 1, 5));
            assert_ne!(found, results(query, 2, 5));
            assert_ne!(found, results(&format!("{query} 2"), 1, 5));
            assert_eq!(results(query, 1, 2), found[..2]);
            for result in &found {
                let text = |key: &str| result[key].as_str().expect("a text");
                assert!(text("title").contains(query), "{result}");
                assert!(text("content").contains(query) && text("content").chars().count() <= 600);
                assert!(text("content").contains("模拟服务器") || text("content").contains("mock server"));
                assert!(text("url").starts_with("https://example.com/"));
                assert_eq!(text("published_at").len(), 10);
            }
        }
    }

    #[test]
    fn a_long_query_gives_short_texts() {
        for result in results(&"燕麦".repeat(200), 1, 5) {
            assert!(result["content"].as_str().expect("a text").chars().count() <= 600);
        }
    }
}
