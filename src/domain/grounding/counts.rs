//! Counted things behind numbers: Chinese measure words and the nouns behind them, English nouns.

use std::sync::LazyLock;

use super::lexicon::{WordList, list};
use super::piece::Piece;
use super::units::Measure;

/// The words of the rules here.
const FILE: &str = include_str!("words/counts.txt");

/// The way in which a text uses the things that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountedThing {
    /// Parts of the text itself: steps, tips, reasons.
    OwnList,
    /// Facts of a product or a company: shades, stores, users.
    Fact,
    /// All other things.
    Everyday,
}

/// The counted thing behind a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) measure: Measure,
    /// The index behind the measure word.
    pub(super) end: usize,
    pub(super) thing: CountedThing,
}

/// Measure words for things of any sort.
const FOR_THINGS: &str = "个种款件样条步点招类句段遍次下口把张杯勺滴泵层颗粒片瓶盒支双套本节篇轮场顿道只台部袋包碗盘罐桶箱份笔项\
     大组排圈根串枚座辆栋间户例处届门集字词对束朵盏碟副盆晚";

/// Nouns and measure words that stand directly behind a number and say what is counted.
const DIRECT: &[(&str, Measure)] = &[
    ("位", Measure::People),
    ("名", Measure::People),
    ("人", Measure::People),
    ("用户", Measure::People),
    ("粉丝", Measure::People),
    ("会员", Measure::People),
    ("女性", Measure::People),
    ("男性", Measure::People),
    ("消费者", Measure::People),
    ("家庭", Measure::Things),
    ("城", Measure::Cities),
    ("国", Measure::Countries),
    ("门店", Measure::Stores),
    ("家", Measure::Stores),
    ("销量", Measure::Things),
    ("单", Measure::Things),
];

/// Nouns behind a measure word that say what is counted.
const NOUNS: &[(&str, Measure)] = &[
    ("用户", Measure::People),
    ("粉丝", Measure::People),
    ("会员", Measure::People),
    ("成员", Measure::People),
    ("员工", Measure::People),
    ("消费者", Measure::People),
    ("人", Measure::People),
    ("城市", Measure::Cities),
    ("国家", Measure::Countries),
    ("门店", Measure::Stores),
];

/// Nouns whose count is a fact, however small it is.
static FACTS: WordList = LazyLock::new(|| list(FILE, "facts"));

/// Verbs before a count that make it a fact.
static BEFORE_FACTS: WordList = LazyLock::new(|| list(FILE, "before facts"));

/// Nouns that name parts of a text.
static OWN_LIST: WordList = LazyLock::new(|| list(FILE, "own list"));

/// Words before a number that begin the text's own list: 这三点, 以下5个.
static BEFORE_OWN_LIST: WordList = LazyLock::new(|| list(FILE, "before own list"));

/// Reads the counted thing that begins at `at`, for a number that begins at `start`.
pub(super) fn read(piece: &Piece, start: usize, at: usize) -> Option<Counted> {
    chinese(piece, start, at).or_else(|| english(piece, at))
}

fn chinese(piece: &Piece, start: usize, at: usize) -> Option<Counted> {
    let direct = DIRECT.iter().find(|(word, _)| piece.has(at, word));
    let (measure, end) = match direct {
        Some((word, measure)) => (*measure, at + word.chars().count()),
        None if piece.is(at, |c| FOR_THINGS.contains(c)) => (Measure::Things, at + 1),
        None => return None,
    };
    let measure = NOUNS
        .iter()
        .find(|(noun, _)| measure == Measure::Things && piece.near(end, 4, &[noun]))
        .map_or(measure, |(_, measure)| *measure);
    let announced = piece.any_before(start, &BEFORE_OWN_LIST).is_some();
    let is_fact = matches!(measure, Measure::Cities | Measure::Countries | Measure::Stores)
        || piece.near(end, 5, &FACTS)
        || piece.any_before(start, &BEFORE_FACTS).is_some();
    let thing = if announced || piece.near(end, 4, &OWN_LIST) || piece.any(at, &["招", "步"]).is_some() {
        CountedThing::OwnList
    } else if is_fact {
        CountedThing::Fact
    } else {
        CountedThing::Everyday
    };
    Some(Counted { measure, end, thing })
}

/// English nouns that say what is counted.
const ENGLISH: &[(&str, Measure, CountedThing)] = &[
    ("people", Measure::People, CountedThing::Everyday),
    ("adults", Measure::People, CountedThing::Everyday),
    ("women", Measure::People, CountedThing::Everyday),
    ("men", Measure::People, CountedThing::Everyday),
    ("parents", Measure::People, CountedThing::Everyday),
    ("students", Measure::People, CountedThing::Everyday),
    ("users", Measure::People, CountedThing::Fact),
    ("members", Measure::People, CountedThing::Fact),
    ("customers", Measure::People, CountedThing::Fact),
    ("clients", Measure::People, CountedThing::Fact),
    ("buyers", Measure::People, CountedThing::Fact),
    ("readers", Measure::People, CountedThing::Fact),
    ("employees", Measure::People, CountedThing::Fact),
    ("patients", Measure::People, CountedThing::Fact),
    ("participants", Measure::People, CountedThing::Fact),
    ("respondents", Measure::People, CountedThing::Fact),
    ("volunteers", Measure::People, CountedThing::Fact),
    ("followers", Measure::People, CountedThing::Fact),
    ("subscribers", Measure::People, CountedThing::Fact),
    ("doctors", Measure::People, CountedThing::Fact),
    ("dermatologists", Measure::People, CountedThing::Fact),
    ("experts", Measure::People, CountedThing::Fact),
    ("cities", Measure::Cities, CountedThing::Fact),
    ("countries", Measure::Countries, CountedThing::Fact),
    ("stores", Measure::Stores, CountedThing::Fact),
    ("shops", Measure::Stores, CountedThing::Fact),
    ("outlets", Measure::Stores, CountedThing::Fact),
    ("flavors", Measure::Things, CountedThing::Fact),
    ("flavours", Measure::Things, CountedThing::Fact),
    ("colors", Measure::Things, CountedThing::Fact),
    ("colours", Measure::Things, CountedThing::Fact),
    ("shades", Measure::Things, CountedThing::Fact),
    ("sizes", Measure::Things, CountedThing::Fact),
    ("awards", Measure::Things, CountedThing::Fact),
    ("patents", Measure::Things, CountedThing::Fact),
    ("languages", Measure::Things, CountedThing::Fact),
    ("ingredients", Measure::Things, CountedThing::Fact),
    ("models", Measure::Things, CountedThing::Fact),
    ("steps", Measure::Things, CountedThing::OwnList),
    ("tips", Measure::Things, CountedThing::OwnList),
    ("ways", Measure::Things, CountedThing::OwnList),
    ("reasons", Measure::Things, CountedThing::OwnList),
    ("checks", Measure::Things, CountedThing::OwnList),
    ("ideas", Measure::Things, CountedThing::OwnList),
    ("things", Measure::Things, CountedThing::OwnList),
    ("mistakes", Measure::Things, CountedThing::OwnList),
    ("lessons", Measure::Things, CountedThing::OwnList),
    ("questions", Measure::Things, CountedThing::OwnList),
    ("rules", Measure::Things, CountedThing::OwnList),
    ("tricks", Measure::Things, CountedThing::OwnList),
    ("habits", Measure::Things, CountedThing::OwnList),
    ("signs", Measure::Things, CountedThing::OwnList),
    ("principles", Measure::Things, CountedThing::OwnList),
    ("myths", Measure::Things, CountedThing::OwnList),
    ("points", Measure::Things, CountedThing::OwnList),
];

/// Words that end the search for the noun behind a number.
static NO_NOUN: WordList = LazyLock::new(|| list(FILE, "no noun"));

fn english(piece: &Piece, at: usize) -> Option<Counted> {
    let words = piece.words(at, 3);
    let nouns: Vec<&(String, usize)> = words
        .iter()
        .take_while(|(word, _)| !NO_NOUN.contains(&word.as_str()))
        .collect();
    let (first, _) = nouns.first()?;
    let known = nouns.iter().find_map(|(word, end)| {
        ENGLISH
            .iter()
            .find(|(noun, ..)| noun == word)
            .map(|known| (known, *end))
    });
    let Some(((noun, measure, thing), end)) = known else {
        return Some(Counted {
            measure: Measure::Things,
            end: at,
            thing: CountedThing::Everyday,
        });
    };
    Some(Counted {
        measure: *measure,
        end: if first == noun { end } else { at },
        thing: *thing,
    })
}
