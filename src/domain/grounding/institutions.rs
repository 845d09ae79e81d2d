//! Names of institutions and reports, and appeals to studies without a name.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::lexicon::{GroupList, WordList, groups, list};
use super::piece::{Piece, is_han, is_letter};
use super::statement::{Authority, Content, Need, Statement};

/// The words of the rules here.
const FILE: &str = include_str!("words/institutions.txt");

/// Names that are known without an ending that marks them.
static NAMES: WordList = LazyLock::new(|| list(FILE, "names"));

/// Abbreviations that are names only in capitals.
static CAPITALS: WordList = LazyLock::new(|| list(FILE, "capitals"));

/// Endings of Chinese names of institutions and reports. The longer of two comes first.
static ENDINGS: WordList = LazyLock::new(|| list(FILE, "endings"));

/// Words before an ending that make it a common noun.
static COMMON: WordList = LazyLock::new(|| list(FILE, "common"));

/// Characters at which the search for the start of a Chinese name ends.
const BEFORE_A_NAME: &str =
    "的了在由据根经和与及从被是有这该按照过为对向给把让去到说看用由跟请以就也都还问找于份";

/// Appeals to an authority without a name, each with the sort of the authority.
static APPEALS: GroupList = LazyLock::new(|| groups(FILE, "appeal to "));

/// English words that name an institution when they stand with other words in capitals.
static HEADS: WordList = LazyLock::new(|| list(FILE, "heads"));

/// Nouns behind a name in capitals that make it a source: `a Kantar study`.
static SOURCES: WordList = LazyLock::new(|| list(FILE, "sources"));

/// The first characters of all Chinese words here. Most places of a text have another one and are left at once.
static FIRST_CHARACTERS: LazyLock<HashSet<char>> = LazyLock::new(|| {
    let appeals = APPEALS.iter().map(|(words, _)| words);
    let words = NAMES.iter().chain(ENDINGS.iter()).chain(appeals);
    words
        .filter_map(|word| word.chars().next())
        .chain(['《'])
        .collect()
});

/// Verbs behind a name that make it a source.
static SPEAKING: WordList = LazyLock::new(|| list(FILE, "speaking"));

/// Reads the source that begins at `at`.
pub(super) fn read(piece: &Piece, at: usize) -> Option<Statement> {
    let first = piece.at(at)?;
    let may_begin = if is_letter(first) {
        piece.starts_word(at)
    } else {
        FIRST_CHARACTERS.contains(&first) || piece.before(at) == Some('据')
    };
    if !may_begin {
        return None;
    }
    appeal(piece, at)
        .or_else(|| titled(piece, at))
        .or_else(|| cited(piece, at))
        .or_else(|| known(piece, at))
        .or_else(|| english(piece, at))
        .or_else(|| by_ending(piece, at))
}

fn statement(start: usize, end: usize, content: Content) -> Statement {
    Statement {
        start,
        end,
        content,
        need: Need::Always,
    }
}

fn appeal(piece: &Piece, at: usize) -> Option<Statement> {
    let found = APPEALS.iter().find(|(words, _)| piece.has(at, words));
    let (words, authority) = found?;
    let end = at + words.chars().count();
    let authority = match *authority {
        "experts" => Authority::Experts,
        "tests" => Authority::Tests,
        "trials" => Authority::Trials,
        _ => Authority::Studies,
    };
    if words.starts_with(is_letter) && (piece.is(end, is_letter) || is_named_before(piece, at)) {
        return None;
    }
    Some(statement(at, end, Content::Unnamed(authority)))
}

/// Whether a name stands before the words: `A Kantar study found`.
fn is_named_before(piece: &Piece, at: usize) -> bool {
    let before = piece.words_before(at, 1);
    at > 0
        && starts_with_capital(piece, word_start_before(piece, at))
        && !before.first().is_none_or(|word| is_sentence_word(word))
}

/// Reads the name between 据 and the word for its data: 据奥维云网的数据.
fn cited(piece: &Piece, at: usize) -> Option<Statement> {
    const CITED: &[&str] = &[
        "的数据",
        "的统计",
        "的调查",
        "的报告",
        "的研究",
        "的报道",
        "数据",
        "统计",
        "报道",
        "消息",
        "发布",
        "披露",
        "测算",
    ];
    const OWN: &[&str] = &[
        "我",
        "说",
        "不完全",
        "官方",
        "品牌",
        "此",
        "了解",
        "悉",
        "最新",
        "有关",
        "相关",
        "公开",
        "行业",
        "市场",
    ];
    piece.any_before(at, &["据"])?;
    if piece.any(at, OWN).is_some() {
        return None;
    }
    let end = (at + 2..at + 14)
        .take_while(|i| piece.is(*i - 1, |c| is_han(c) || c.is_ascii_alphanumeric()))
        .find(|i| piece.any(*i, CITED).is_some())?;
    Some(statement(at, end, Content::Named(piece.folded_text(at, end))))
}

/// Reads a title in Chinese marks that names a report, a journal or a standard.
fn titled(piece: &Piece, at: usize) -> Option<Statement> {
    const TITLES: &[&str] = &[
        "报告",
        "白皮书",
        "蓝皮书",
        "指南",
        "标准",
        "年鉴",
        "共识",
        "期刊",
        "杂志",
        "学报",
        "日报",
    ];
    if !piece.has(at, "《") {
        return None;
    }
    let end = (at + 1..at + 40).find(|i| piece.has(*i, "》"))?;
    let is_report = TITLES
        .iter()
        .any(|title| piece.any_before(end, &[title]).is_some());
    let is_journal = [
        "杂志",
        "期刊",
        "上的论文",
        "论文",
        "子刊",
        "发表",
        "报道",
        "的研究",
    ]
    .iter()
    .any(|word| piece.near(end + 1, 4, &[word]))
        || piece.any_before(at, &["杂志", "期刊", "据"]).is_some();
    (is_report || is_journal).then(|| statement(at, end + 1, Content::Named(piece.folded_text(at + 1, end))))
}

fn known(piece: &Piece, at: usize) -> Option<Statement> {
    let glued = piece.before(at).is_some_and(is_letter);
    if !glued {
        let name = CAPITALS.iter().find(|name| {
            let behind = at + name.len();
            name.chars()
                .zip(at..)
                .all(|(c, i)| piece.written.get(i) == Some(&c))
                && !piece.is(behind, |c| c.is_ascii_alphanumeric())
        });
        if let Some(name) = name {
            return Some(statement(
                at,
                at + name.len(),
                Content::Named(name.to_ascii_lowercase()),
            ));
        }
    }
    let name = piece.any(at, &NAMES)?;
    let mut end = at + name.chars().count();
    let is_latin = name.starts_with(|c: char| is_letter(c));
    if is_latin && (glued || piece.is(end, is_letter) || !starts_with_capital(piece, at)) {
        return None;
    }
    if matches!(name, "清华" | "北大") && piece.any(end, &["荒", "街", "衣"]).is_some() {
        return None;
    }
    // 尼尔森报告, 哈佛大学 and 艾媒咨询 are one name.
    while let Some(ending) = piece.any(end, &ENDINGS) {
        end += ending.chars().count();
    }
    Some(statement(at, end, Content::Named(name.to_owned())))
}

fn starts_with_capital(piece: &Piece, at: usize) -> bool {
    piece.written.get(at).is_some_and(char::is_ascii_uppercase)
}

/// Returns the start of the English word that ends before `at` and its space.
fn word_start_before(piece: &Piece, at: usize) -> usize {
    let mut start = at.saturating_sub(1);
    while start > 0 && piece.is(start - 1, is_letter) {
        start -= 1;
    }
    start
}

/// Reads `the journal Animals`.
fn journal(piece: &Piece, at: usize) -> Option<Statement> {
    let words = piece.words(at, 2);
    let ((first, _), (name, end)) = (words.first()?, words.get(1)?);
    let capital = starts_with_capital(piece, end - name.chars().count());
    (first == "journal" && capital).then(|| statement(at, *end, Content::Named(name.clone())))
}

/// Reads a name of words in capitals that holds a head (`University of Minnesota`), stands before `study` or `report`, or
/// behind `according to`.
fn english(piece: &Piece, at: usize) -> Option<Statement> {
    piece.word_end(at)?;
    if !starts_with_capital(piece, at) {
        return journal(piece, at);
    }
    let words = piece.words(at, 8);
    let mut name: Vec<&str> = Vec::new();
    let (mut end, mut next, mut has_head) = (at, "", false);
    let mut start = at;
    for (index, (word, word_end)) in words.iter().enumerate() {
        let word_start = word_end - word.chars().count();
        let is_capital = starts_with_capital(piece, word_start);
        let joins = matches!(word.as_str(), "of" | "for" | "and" | "on" | "the")
            && words.get(index + 1).is_some_and(|(word, end)| {
                starts_with_capital(piece, end - word.chars().count()) || word == "the"
            });
        next = word;
        if !is_capital && (!joins || name.is_empty()) {
            break;
        }
        if index == 0
            && matches!(
                word.as_str(),
                "the" | "a" | "an" | "in" | "according" | "at" | "our" | "your" | "my"
            )
        {
            start = words
                .get(1)
                .map_or(*word_end, |(word, end)| end - word.chars().count());
            continue;
        }
        has_head |= HEADS.contains(&word.trim_end_matches("'s"));
        name.push(word);
        end = *word_end;
        next = "";
    }
    let cited = piece.words_before(start, 3);
    let cited = cited.iter().map(String::as_str).collect::<Vec<_>>();
    let cited = matches!(
        cited.as_slice(),
        ["to", "according", ..]
            | ["the", "to", "according"]
            | ["by" | "from", "study" | "survey" | "report" | "research", ..]
    ) || (start > at && piece.has(at, "according to"));
    let is_source = SOURCES.contains(&next) && !name.is_empty();
    // A name of several words that says something: `The American Kennel Club recommends`.
    let speaks = SPEAKING.contains(&next) && name.len() > 1;
    let is_institution = has_head && name.len() > 1 || speaks;
    if !(is_source || is_institution || cited) || name.is_empty() || end <= start {
        return None;
    }
    // A word that only opens the sentence is no name: `Another study`.
    let opens = name.len() == 1 && !has_head && is_source && (start == 0 || is_sentence_word(name.first()?));
    if opens {
        return None;
    }
    Some(statement(
        start,
        end,
        Content::Named(piece.folded_text(start, end)),
    ))
}

fn is_sentence_word(word: &str) -> bool {
    matches!(
        word,
        "one"
            | "another"
            | "this"
            | "that"
            | "each"
            | "every"
            | "our"
            | "my"
            | "your"
            | "recent"
            | "some"
            | "no"
            | "read"
            | "i"
    )
}

/// Characters behind 学会 with which it is the verb.
const AFTER_THE_VERB: &str = "了着做煎煮写画跑用爱放等自给跟怎如看听开游骑吃种";

/// Reads a Chinese name by its ending, when the ending begins at `at`.
fn by_ending(piece: &Piece, at: usize) -> Option<Statement> {
    const MOST: usize = 12;
    const LEADS: &[&str] = &[
        "根据", "来自", "通过", "按照", "经过", "参考", "引用", "依据", "发布", "最新", "一份", "连",
    ];
    let ending = piece.any(at, &ENDINGS)?;
    let end = at + ending.chars().count();
    let mut start = at;
    while start > 0
        && at - start < MOST
        && piece.is(start - 1, |c| is_han(c) && !BEFORE_A_NAME.contains(c))
        && piece.any_before(start, LEADS).is_none()
    {
        start -= 1;
    }
    let name_length = at - start;
    let is_common = name_length < 2
        || COMMON.iter().any(|word| {
            piece.any_before(at, &[word]).is_some() && (word.chars().count() >= 2 || name_length <= 1)
        })
        || piece
            .any(
                end,
                &[
                    "厅", "里", "生", "师", "城", "路", "时代", "同学", "毕业", "单", "会",
                ],
            )
            .is_some()
            && matches!(ending, "大学" | "报告" | "学院" | "咨询");
    let verb = matches!(ending, "报告" | "咨询")
        && piece
            .any_before(at, &["欢迎", "检测", "质检", "免费", "来", "测试"])
            .is_some();
    // 学会 is also the verb: 学会了做饭.
    let learns = ending == "学会" && piece.is(end, |c| AFTER_THE_VERB.contains(c));
    if is_common || verb || learns {
        return None;
    }
    // The nearest characters identify the name: what stands further left may be another word.
    let key = end - at + (at - start).min(2);
    Some(statement(
        start,
        end,
        Content::Named(piece.folded_text(end - key, end)),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{Grounds, words_to_ground as found};

    #[test]
    fn sources_are_found_by_name_ending_and_place() {
        for (text, expected) in [
            ("据尼尔森报告，很好。", "尼尔森报告"),
            ("我们和中国营养学会合作。", "中国营养学会"),
            ("据奥维云网的数据，很多。", "奥维云网"),
            ("《2025中国茶饮白皮书》里有。", "《2025中国茶饮白皮书》"),
            ("研究表明，早睡更好。", "研究表明"),
            ("An old University of Minnesota guide", "University of Minnesota"),
            ("according to Vanguard, it does", "Vanguard"),
            ("the WHO agrees", "WHO"),
            ("The American Kennel Club recommends it.", "American Kennel Club"),
            ("many experts recommend it", "experts recommend"),
            ("a study in the journal Animals", "journal Animals"),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }

    #[test]
    fn common_nouns_are_no_sources() {
        for text in [
            "我上大学那年，写了一份报告。",
            "客服在线咨询，去医院看病。",
            "我终于学会了做饭，昨天学会了煎蛋。",
            "《小王子》里说，大学同学都来了。",
            "who knows, I told him, mit dem Hund",
            "This report is long. Another study is not needed.",
            "John ran to the store. The Blue Bottle is empty.",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn names_of_one_institution_stand_for_each_other() {
        let grounds = Grounds::of(["中国消费者协会发布，World Health Organization"]);
        assert_eq!(grounds.missing_from("中消协和世卫组织都说过。"), []);
    }

    #[test]
    fn an_appeal_needs_an_authority_of_its_sort() {
        let missing = |material: &str, text: &str| Grounds::of([material]).missing_from(text).len();
        assert_eq!(missing("2024年的调查", "研究表明"), 0);
        assert_eq!(missing("2024年的调查", "专家建议"), 1);
        assert_eq!(missing("消费者测试", "临床验证"), 1);
        assert_eq!(missing("临床试验", "临床验证"), 0);
    }
}
