//! Grounding: the statements of a finished text that need a source must stand in its material.
//!
//! Statements are numbers with their units, prices, percentages, dates, names of institutions and reports, superlatives
//! and comparisons, in Chinese and English. They are compared by value and not by form: 八成, 80% and `eighty percent`
//! are one statement. `docs/quality.md` describes the rules and has their measured quality.
//!
//! The rules are fixed lists and patterns. They never call a model, read each character a bounded number of times, and
//! accept any text.

mod comparisons;
mod counts;
mod dates;
mod exempt;
mod institutions;
mod lexicon;
mod material;
mod number_words;
mod numerals;
mod piece;
mod quantities;
mod scan;
mod special;
mod statement;
mod superlatives;
mod units;

use self::material::{LookedUp, MaterialStatements};
use self::scan::statements;

/// The most findings of one text: a model mends no more in one repair, and a warning names no more.
pub const MOST_FINDINGS: usize = 20;

/// The longest word of a finding, in characters.
const LONGEST_WORD: usize = 60;

/// A statement of a text that does not stand in the material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The words of the statement as they stand in the text, at most 60 characters.
    pub word: String,
    /// The offset of the first character in the text.
    pub start: usize,
    /// The sort of the statement.
    pub kind: FindingKind,
}

/// The sorts of statements that need a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A number with or without a unit, a percentage, a duration.
    Number,
    /// An amount of money or a discount.
    Price,
    /// A year, a month or a day of the calendar.
    Date,
    /// An institution, a report, or an appeal to studies.
    Institution,
    /// A rank or an extreme: the best, the only one.
    Superlative,
    /// A comparison with another thing.
    Comparison,
}

impl FindingKind {
    /// Returns the name that messages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Price => "price",
            Self::Date => "date",
            Self::Institution => "institution",
            Self::Superlative => "superlative",
            Self::Comparison => "comparison",
        }
    }
}

/// The material of texts, in a form that is searched. It is built once for several texts.
#[derive(Debug, Default)]
pub struct Grounds {
    material: MaterialStatements,
}

impl Grounds {
    /// Reads the statements of all parts of the material.
    pub fn of<'a>(material: impl IntoIterator<Item = &'a str>) -> Self {
        let mut statements = MaterialStatements::default();
        for part in material {
            statements.add(part);
        }
        Self { material: statements }
    }

    /// Returns the statements of `text` that need a source and do not stand in the material, in their order, at most
    /// [`MOST_FINDINGS`].
    pub fn missing_from(&self, text: &str) -> Vec<Finding> {
        let mut names = LookedUp::new();
        let missing = statements(text).filter(|(_, statement)| {
            self.material.asks_for(statement) && !self.material.grounds(&statement.content, &mut names)
        });
        missing
            .map(|(piece, statement)| Finding {
                word: piece
                    .written_text(statement.start, statement.end)
                    .chars()
                    .take(LONGEST_WORD)
                    .collect(),
                start: piece.start + statement.start,
                kind: statement.content.kind(),
            })
            .take(MOST_FINDINGS)
            .collect()
    }
}

/// Returns the words of a text that need a source.
#[cfg(test)]
fn words_to_ground(text: &str) -> Vec<String> {
    let findings = Grounds::of([]).missing_from(text);
    findings.into_iter().map(|finding| finding.word).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the words that are missing.
    fn missing(material: &str, text: &str) -> Vec<String> {
        let found = Grounds::of([material]).missing_from(text);
        found.into_iter().map(|finding| finding.word).collect()
    }

    #[test]
    fn a_finding_has_its_word_its_place_and_its_kind() {
        let found =
            Grounds::of([]).missing_from("早。3秒、¥199、3月15日，尼尔森报告说全网最好用，比美式便宜。");
        let found: Vec<(&str, usize, &str)> = found
            .iter()
            .map(|finding| (finding.word.as_str(), finding.start, finding.kind.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("3秒", 2, "number"),
                ("¥199", 5, "price"),
                ("3月15日", 10, "date"),
                ("尼尔森报告", 16, "institution"),
                ("全网最好用", 22, "superlative"),
                ("比美式便宜", 28, "comparison"),
            ]
        );
    }

    #[test]
    fn places_count_over_lines_and_wide_characters() {
        let text = "😀😀\n一行\r\n只要３秒";
        let found = Grounds::of([]).missing_from(text);
        assert_eq!(found.len(), 1);
        let there: String = text.chars().skip(found[0].start).take(2).collect();
        assert_eq!((found[0].word.as_str(), there.as_str()), ("３秒", "３秒"));
    }

    #[test]
    fn one_value_grounds_all_its_forms() {
        for forms in [
            &[
                "80%",
                "八成",
                "百分之八十",
                "８０％",
                "80 percent",
                "eighty percent",
            ][..],
            &["3亿元", "3 亿元", "三亿元", "300,000,000元", "¥300,000,000"],
            &["3秒", "3 秒", "三秒", "3秒钟", "three seconds", "3 s"],
            &["90分钟", "一个半小时", "1.5小时", "1.5 hours"],
            &["半年", "6个月", "六个月", "six months"],
            &["2公斤", "2kg", "4斤", "2000克", "2,000 g"],
            &["199元", "¥199", "￥199", "199块", "一百九十九块钱", "199 yuan"],
            &["$20", "20美元", "20 dollars", "twenty dollars"],
            &["2026年3月15日", "2026-03-15", "2026/3/15", "March 15, 2026"],
            &["三分之二", "2/3", "two thirds", "2 in 3"],
            &["5000人", "5,000名用户", "五千位会员", "5,000 people"],
            &["1.2万家门店", "12,000家门店", "12,000 stores"],
            &["120.5 ml", "120.5毫升"],
            &["零添加", "0添加"],
            &["85折", "八五折", "8.5折"],
            &["85%", "八成五"],
            &["2.5元", "两块五"],
            &["165厘米", "1.65米"],
        ] {
            for material in forms {
                for text in forms {
                    assert_eq!(missing(material, text), [""; 0], "{text} in {material}");
                }
                assert_eq!(missing("没有数字。", material).len(), 1, "{material}");
            }
        }
    }

    #[test]
    fn another_value_or_unit_grounds_nothing() {
        for (material, text) in [
            ("80%", "八成五"),
            ("3秒", "3分钟"),
            ("3天", "3个月"),
            ("¥199", "$199"),
            ("50家门店", "50座城市"),
            ("2026年", "2026年3月"),
            ("3月15日", "3月16日"),
            ("20-35岁", "40岁"),
            ("20到35岁", "20-30岁"),
            ("哈佛大学", "清华大学"),
            ("比美式便宜", "比拿铁便宜"),
            ("最好用", "最便宜"),
            ("中国消费者协会", "中国营养学会的建议"),
        ] {
            assert_eq!(missing(material, text).len(), 1, "{text} in {material}");
        }
    }

    #[test]
    fn a_bare_number_has_any_unit() {
        assert_eq!(missing("容量：750", "750毫升"), [""; 0]);
        assert_eq!(missing("容量750毫升", "容量：750"), [""; 0]);
        assert_eq!(missing("容量750毫升", "750克"), ["750克"]);
    }

    #[test]
    fn limits_are_met_by_close_values() {
        for (material, text) in [
            ("78%", "近八成"),
            ("82%", "超过八成"),
            ("3400人", "3000多人"),
            ("3400人", "more than 3,000 people"),
            ("$99", "less than $100"),
            ("38.5%", "将近四成"),
            ("2.3万名学员", "两万多名学员"),
            ("33%", "三分之一"),
            ("350万用户", "几百万用户"),
        ] {
            assert_eq!(missing(material, text), [""; 0], "{text} in {material}");
        }
        for (material, text) in [
            ("70%", "近八成"),
            ("78%", "八成"),
            ("78%", "超过八成"),
            ("4100人", "3000多人"),
            ("$89", "less than $100"),
            ("35%", "三分之一"),
        ] {
            assert_eq!(missing(material, text).len(), 1, "{text} in {material}");
        }
    }

    #[test]
    fn a_small_count_may_not_contradict_the_material() {
        assert_eq!(missing("每瓶用了4个橙子。", "一瓶8个橙子"), ["8个"]);
        assert_eq!(missing("每瓶用了4个橙子。", "一瓶四个橙子"), [""; 0]);
        assert_eq!(missing("橙汁。", "一瓶8个橙子"), [""; 0]);
    }

    #[test]
    fn there_are_few_findings_and_their_words_are_short() {
        let many = "3秒、".repeat(100);
        assert_eq!(Grounds::of([]).missing_from(&many).len(), MOST_FINDINGS);
        let long = format!("《{}报告》", "长".repeat(36));
        let long = format!(
            "{long} {}",
            "University of Somewhereverylong and of Elsewhereverylongtoo and of Nowhere"
        );
        for finding in Grounds::of([]).missing_from(&long) {
            assert!(finding.word.chars().count() <= LONGEST_WORD, "{}", finding.word);
        }
        assert_eq!(Grounds::of([]).missing_from(&long).len(), 2);
    }

    #[test]
    fn long_texts_are_read_piece_by_piece() {
        // Rules that read a whole line would take minutes for these lines.
        for unit in ["a-", "1,", "亿", "A ", "《", "比", "据大学", "三分之", "1-"] {
            let text: String = unit.chars().cycle().take(10_000).collect();
            assert_eq!(Grounds::of([text.as_str()]).missing_from(&text), []);
        }
    }

    /// Pieces of sentences, from which hostile texts are put together.
    fn fragment() -> impl Strategy<Value = String> {
        let known = [
            "3",
            "三",
            "百",
            "亿",
            "零",
            "点",
            "半",
            "分之",
            "%",
            "成",
            "折",
            "¥",
            "$",
            ".",
            ",",
            "-",
            "/",
            ":",
            "年",
            "月",
            "日",
            "最",
            "最好用",
            "第一",
            "比",
            "便宜",
            "更",
            "据",
            "大学",
            "报告",
            "《",
            "》",
            "哈佛",
            "half",
            " of ",
            "one",
            " in ",
            "twice as ",
            "the best ",
            "better than ",
            "University ",
            "A ",
            "times ",
            "million",
            "\u{fe0f}",
            "😀",
            "\n",
            " ",
            "　",
            "spf",
            "2026",
            "March ",
            "个",
            "人",
            "秒",
            "k",
            "+",
            "多",
            "几",
            "'",
            "’",
            "0x",
            "#",
            "http://",
        ];
        prop_oneof![
            4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn a_text_is_grounded_in_itself(parts in prop::collection::vec(fragment(), 0..40)) {
            let text = parts.concat();
            prop_assert_eq!(Grounds::of([text.as_str()]).missing_from(&text), []);
        }

        #[test]
        fn every_finding_stands_at_its_place(parts in prop::collection::vec(fragment(), 0..40)) {
            let text = parts.concat();
            for finding in Grounds::of(["素材"]).missing_from(&text) {
                let length = finding.word.chars().count();
                let there: String = text.chars().skip(finding.start).take(length).collect();
                prop_assert!(length > 0);
                prop_assert_eq!(there, finding.word);
            }
        }

        #[test]
        fn more_material_never_adds_a_finding(
            parts in prop::collection::vec(fragment(), 0..20),
            more in prop::collection::vec(fragment(), 0..20),
        ) {
            let (text, more) = (parts.concat(), more.concat());
            let all = Grounds::of([more.as_str(), text.as_str()]).missing_from(&text);
            prop_assert_eq!(all, []);
        }
    }
}
