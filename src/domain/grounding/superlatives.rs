//! Superlatives: 最好用, 全网第一, 国家级, `the best`, `No. 1`, `cheapest`.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::lexicon::{GroupList, WordList, groups, list};
use super::piece::{Piece, ends_clause, is_han, is_letter};
use super::statement::{Content, Need, Statement};

/// The words of the rules here.
const FILE: &str = include_str!("words/superlatives.txt");

/// Words behind 最 with which it is no superlative of a thing: times, bounds, feelings, and the writer's own weighing.
static NOT_OF_A_THING: WordList = LazyLock::new(|| list(FILE, "not of a thing"));

/// Nouns of the writer's life or text: a superlative of them states nothing about a product.
static OWN_NOUNS: WordList = LazyLock::new(|| list(FILE, "own nouns"));

/// Words that are superlatives by themselves, each with its group.
static WORDS: GroupList = LazyLock::new(|| groups(FILE, "words "));

/// Words before 第一, 第二 or 第三 that make it a rank.
static RANKS: WordList = LazyLock::new(|| list(FILE, "ranks"));

static ADJECTIVES: GroupList = LazyLock::new(|| groups(FILE, "adjectives "));

/// English nouns of the writer's advice.
static ENGLISH_OWN_NOUNS: WordList = LazyLock::new(|| list(FILE, "english own nouns"));

/// Words before an English superlative that make it one of a thing.
static DETERMINERS: WordList = LazyLock::new(|| list(FILE, "determiners"));

/// The first characters of all words here that are no English words.
static FIRST_CHARACTERS: LazyLock<HashSet<char>> = LazyLock::new(|| {
    let words = WORDS.iter().filter_map(|(word, _)| word.chars().next());
    words.chain(['最', '第', '唯', '首', '#']).collect()
});

/// Reads the superlative that begins at `at`.
pub(super) fn read(piece: &Piece, at: usize) -> Option<Statement> {
    let first = piece.at(at)?;
    let may_begin = if is_letter(first) {
        piece.starts_word(at)
    } else {
        FIRST_CHARACTERS.contains(&first)
    };
    if !may_begin {
        return None;
    }
    chinese_most(piece, at)
        .or_else(|| rank(piece, at))
        .or_else(|| only(piece, at))
        .or_else(|| word(piece, at))
        .or_else(|| english(piece, at))
}

fn statement(start: usize, end: usize, key: &str) -> Statement {
    Statement {
        start,
        end,
        content: Content::Superlative(key.to_owned()),
        need: Need::Always,
    }
}

fn word(piece: &Piece, at: usize) -> Option<Statement> {
    let (word, group) = WORDS.iter().find(|(word, _)| piece.has(at, word))?;
    let end = at + word.chars().count();
    let other = match *word {
        "天花板" => {
            piece
                .any_before(at, &["看", "盯着", "望着", "客厅", "刷", "家里"])
                .is_some()
                || piece.any(end, &["上", "吊"]).is_some()
        }
        // A person is unique in another sense than a product.
        "独一无二" => piece.near(
            at.saturating_sub(8),
            at.min(8),
            &["每个", "每一个", "孩子", "你", "自己", "我们"],
        ),
        "独家" => piece
            .any(end, &["秘方", "记忆", "心得", "分享", "小技巧", "经验"])
            .is_some(),
        "王者" => piece.any(end, &["荣耀"]).is_some(),
        "登顶" => piece.any(end, &["泰山", "看", "那", "后", "的"]).is_some(),
        _ => false,
    };
    (!other).then(|| statement(at, end, group))
}

/// Reads 最 with the quality behind it.
fn chinese_most(piece: &Piece, at: usize) -> Option<Statement> {
    if !piece.has(at, "最") {
        return None;
    }
    let quality = at + 1;
    if piece.any_before(at, &["之"]).is_some() {
        return Some(statement(at - 1, quality, "之最"));
    }
    let negated = piece
        .any_before(at, &["不是", "没有", "不求", "并非", "不一定"])
        .is_some();
    if negated
        || piece.any(quality, &NOT_OF_A_THING).is_some()
        || (piece.has(quality, "舒服") && !piece.is(quality + 2, is_han))
        || !piece.is(quality, is_han)
    {
        return None;
    }
    if piece.has(quality, "好") && is_advice(piece, quality + 1) {
        return None;
    }
    let asked = (1..=10)
        .map_while(|back| {
            at.checked_sub(back)
                .filter(|from| piece.is(*from, |c| !ends_clause(c)))
        })
        .any(|from| piece.any(from, &["哪", "谁", "什么"]).is_some());
    if asked || piece.has(quality, "早") && !piece.has(quality, "早的") {
        return None;
    }
    let length = (1..=4)
        .find(|length| {
            !piece.is(quality + length, is_han)
                || piece.is(quality + length, |c| matches!(c, '的' | '了' | '之'))
        })
        .unwrap_or(2);
    let mut end = quality + length;
    let rhetorical = ["的不是", "的莫过于", "的往往", "的其实"]
        .iter()
        .any(|words| piece.has(end, words));
    if rhetorical
        || piece.has(end, "的") && piece.near(end + 1, 3, &OWN_NOUNS)
        || piece.near(quality, 4, &["误区", "遗憾", "感受"])
    {
        return None;
    }
    while !piece.is(end - 1, is_han) && end > quality + 1 {
        end -= 1;
    }
    let start = piece
        .any_before(
            at,
            &[
                "全网",
                "史上",
                "全国",
                "全球",
                "世界",
                "行业",
                "业内",
                "国内",
                "市面上",
            ],
        )
        .map_or(at, |before| at - before.chars().count());
    let key = piece.folded_text(quality, (quality + 2).min(end));
    let key = match key.as_str() {
        "便宜" | "低价" | "划算" => "cheapest".to_owned(),
        "好" | "佳" | "优" | "优质" | "棒" => "best".to_owned(),
        "快" => "fastest".to_owned(),
        "大" => "largest".to_owned(),
        "安全" => "safest".to_owned(),
        _ => format!("最{key}"),
    };
    Some(statement(start, end, &key))
}

/// Whether 最好 is advice here: 最好先, 最好用温水洗. 最好用的 and 最好用！ are superlatives.
fn is_advice(piece: &Piece, at: usize) -> bool {
    let Some(next) = piece.at(at) else { return false };
    if !is_han(next) {
        return false;
    }
    if matches!(next, '用' | '吃' | '喝' | '看' | '穿' | '玩' | '听' | '闻') {
        return piece.is(at + 1, |c| {
            is_han(c) && !matches!(c, '的' | '了' | '最' | '没' | '不')
        });
    }
    !matches!(next, '的' | '之' | '了' | '没')
}

/// Reads 第一 as a rank: 销量第一, 第一品牌. Other ordinals are none.
fn rank(piece: &Piece, at: usize) -> Option<Statement> {
    let english = piece.any(
        at,
        &[
            "no.1",
            "no. 1",
            "no.one",
            "no1",
            "number one",
            "top1",
            "top 1",
            "#1",
        ],
    );
    if let Some(word) = english
        && !piece.is(at + word.len(), |c| c.is_ascii_alphanumeric())
        && !piece.before(at).is_some_and(|c| c.is_ascii_alphanumeric())
    {
        let own = piece
            .words(at + word.len(), 1)
            .first()
            .is_some_and(|(word, _)| ENGLISH_OWN_NOUNS.contains(&word.as_str()));
        let is_list =
            own || piece.is(at + word.len(), |c| matches!(c, ':' | '.' | '\u{fe0f}')) && word.ends_with('1');
        return (!is_list).then(|| statement(at, at + word.len(), "first rank"));
    }
    let word = piece.any(at, &["第一", "第二", "第三", "第1", "第2", "第3"])?;
    let end = at + 2;
    let ranked = (1..=4).any(|back| {
        at.checked_sub(back).is_some_and(|from| {
            piece
                .any(from, &RANKS)
                .is_some_and(|rank| rank.chars().count() <= back)
        })
    }) && piece.any(end, &["次", "步", "天", "个", "款"]).is_none();
    let noun = piece
        .any(end, &["品牌", "名", "大品牌", "股", "梯队", "大厂"])
        .is_some();
    let is_first = matches!(word, "第一" | "第1");
    (ranked || noun).then(|| statement(at, end, if is_first { "first rank" } else { word }))
}

/// Reads 唯一 and 首个, which may also speak of the writer's own things.
fn only(piece: &Piece, at: usize) -> Option<Statement> {
    let word = piece.any(at, &["唯一", "首个"])?;
    let end = at + 2;
    let own = [
        "缺点", "不足", "遗憾", "问题", "要做", "需要", "能做", "办法", "周末", "周", "假期", "月", "要求",
        "理由", "爱好", "的人", "例外", "变量",
    ];
    (!piece.near(end, 4, &own)).then(|| {
        let group = if word == "唯一" {
            "only"
        } else {
            "first of its kind"
        };
        statement(at, end, group)
    })
}

fn english(piece: &Piece, at: usize) -> Option<Statement> {
    piece.word_end(at)?;
    let words = piece.words(at, 4);
    let (first, end) = words.first()?;
    let before = piece.words_before(at, 2);
    let previous = before.first().map_or("", String::as_str);
    let of_a_thing = DETERMINERS.contains(&previous) || previous.ends_with("'s");
    let nouns = |from: usize, most: usize| {
        words
            .iter()
            .skip(from)
            .take(most)
            .any(|(word, _)| ENGLISH_OWN_NOUNS.contains(&word.as_str()))
    };
    match first.as_str() {
        "best" => {
            let is_voted = matches!(previous, "voted" | "named" | "rated" | "ranked");
            let is_verb = matches!(
                previous,
                "" | "at" | "do" | "did" | "try" | "your" | "my" | "is" | "are" | "of" | "this"
            );
            let is_fragment = piece.near(
                *end,
                30,
                &[" ever", " in the world", " on the market", " in town"],
            );
            let holds = (of_a_thing && !is_verb || is_fragment || is_voted) && !nouns(1, 1);
            holds.then(|| statement(at, *end, "best"))
        }
        "most" => {
            let (second, second_end) = words.get(1)?;
            let own = [
                "important",
                "common",
                "of",
                "people",
                "part",
                "difficult",
                "likely",
                "recent",
                "basic",
                "obvious",
                "beautiful",
                "useful",
                "time",
                "out",
            ];
            let holds = of_a_thing && !own.contains(&second.as_str()) && !nouns(2, 1);
            holds.then(|| statement(at, *second_end, &format!("most {second}")))
        }
        "only" => {
            let own = nouns(1, 1) || words.get(1).is_some_and(|(word, _)| word.len() < 3);
            (previous == "the" && !own && words.len() > 1).then(|| statement(at, *end, "only"))
        }
        "first" => {
            let kind = words
                .get(1)
                .is_some_and(|(word, _)| matches!(word.as_str(), "brand" | "product" | "company" | "app"));
            (previous == "the" && kind).then(|| statement(at, *end, "first of its kind"))
        }
        "leading" => {
            let noun = words.get(1).is_some_and(|(word, _)| {
                matches!(
                    word.as_str(),
                    "brand" | "provider" | "company" | "maker" | "manufacturer" | "app" | "platform"
                )
            });
            ((previous == "the" || previous.ends_with("'s")) && noun).then(|| statement(at, *end, "leading"))
        }
        "leads" => (words.get(1)?.0 == "the"
            && matches!(words.get(2)?.0.as_str(), "market" | "industry" | "field"))
        .then(|| statement(at, *end, "leading")),
        adjective => {
            // The first part of fastest-growing and longest-lasting is the superlative.
            let part = adjective.split('-').next().filter(|part| part.ends_with("est"));
            let is_known = |known: &str| known == adjective || part == Some(known);
            let (_, group) = ADJECTIVES.iter().find(|(known, _)| is_known(known))?;
            let advice = adjective.ends_with("est") && nouns(1, 1);
            (!advice).then(|| statement(at, *end, group))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grounds, words_to_ground as found};

    #[test]
    fn superlatives_are_found() {
        for (text, expected) in [
            ("这是最好用的散粉。", "最好用"),
            ("真的最好用！", "最好用"),
            ("全网最低价", "全网最低价"),
            ("国家级品质", "国家级"),
            ("销量第一", "第一"),
            ("第一品牌", "第一"),
            ("唯一一款", "唯一"),
            ("行业天花板", "天花板"),
            ("the best phone", "best"),
            ("the cheapest fund", "cheapest"),
            ("the UK's No. 1 drink", "No. 1"),
            ("the most popular breed", "most popular"),
            ("the only app", "only"),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }

    #[test]
    fn words_that_look_like_superlatives_pass() {
        for text in [
            "最近、最后、最终、最初、最多、最少，第一眼，第一次，第一步。",
            "最好先洗脸，最好用温水洗。",
            "我最喜欢的，最重要的是，最难的不是写。",
            "盯着天花板看。唯一的缺点是贵。",
            "At best, do your best; the best way is the first way.",
            "The only thing is time. Our #1 rule: rest. Most people, at least the latest.",
            "an honest guest in the forest",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn superlatives_of_one_meaning_ground_each_other() {
        for (material, text) in [
            ("全网销量第一", "the No. 1 brand"),
            ("最便宜", "the cheapest one in town"),
            ("最好用的散粉", "最好用！"),
        ] {
            assert_eq!(
                Grounds::of([material]).missing_from(text),
                [],
                "{text} in {material}"
            );
        }
    }
}
