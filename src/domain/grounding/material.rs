//! The statements of the material, and the rules by which they ground those of a text.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::piece::folded;
use super::scan::statements;
use super::statement::{
    Authority, Bound, CalendarDate, Comparison, Content, Need, Quantity, Statement, Value,
};
use super::units::Measure;

/// The most different names of one text that are looked up. It bounds the time for a text that consists of names.
const MOST_NAMES: usize = 500;

/// Words of the material that ground an appeal to an authority without a name.
const AUTHORITIES: &[(Authority, &[&str])] = &[
    (
        Authority::Studies,
        &[
            "研究", "调查", "报告", "数据", "实验", "统计", "study", "studies", "survey", "report",
            "research", "data",
        ],
    ),
    (
        Authority::Experts,
        &[
            "专家",
            "医生",
            "医师",
            "教授",
            "营养师",
            "expert",
            "doctor",
            "dermatologist",
            "nutritionist",
        ],
    ),
    (
        Authority::Tests,
        &[
            "检测",
            "质检",
            "测试",
            "认证",
            "抽检",
            "检验",
            "tested",
            "certified",
        ],
    ),
    (Authority::Trials, &["临床", "clinical"]),
];

/// Names of institutions that stand for each other.
const SAME_INSTITUTION: &[&[&str]] = &[
    &["中消协", "中国消费者协会"],
    &["世卫组织", "世界卫生组织", "who", "world health organization"],
    &["药监局", "国家药监", "国家药监局", "药品监督管理局"],
    &["央行", "中国人民银行", "人民银行"],
    &["cdc", "centers for disease control"],
    &["fda", "food and drug administration"],
    &["中科院", "中国科学院"],
    &["nielsen", "尼尔森"],
    &["harvard", "哈佛"],
    &["stanford", "斯坦福"],
    &["mckinsey", "麦肯锡"],
    &["mit", "麻省理工"],
    &["euromonitor", "欧睿"],
    &["deloitte", "德勤"],
    &["kantar", "凯度"],
    &["清华", "tsinghua"],
    &["北大", "北京大学"],
];

/// All statements of a material.
#[derive(Debug, Default)]
pub(super) struct MaterialStatements {
    /// Values by measure, in base units.
    values: BTreeSet<(Measure, i128)>,
    /// Values as they are written, whatever their unit.
    written: BTreeSet<i128>,
    /// Each date, and each less exact form of it.
    dates: HashSet<CalendarDate>,
    superlatives: HashSet<String>,
    comparisons: HashSet<(String, String)>,
    /// The folded material, in which names are searched.
    text: String,
    authorities: BTreeSet<Authority>,
    /// Nouns of the counted things.
    counted: HashSet<String>,
}

/// Names that were looked up for one text, with the results.
pub(super) type LookedUp = HashMap<String, bool>;

impl MaterialStatements {
    pub(super) fn add(&mut self, part: &str) {
        for (_, statement) in statements(part) {
            if let Need::IfCounted(noun) = statement.need {
                self.counted.insert(noun);
            }
            match statement.content {
                Content::Quantity(quantity) => {
                    for value in quantity.values {
                        self.values.insert((quantity.measure, value.base));
                        self.written.insert(value.written);
                    }
                }
                Content::Date(date) => self.add_date(date),
                Content::Superlative(key) => {
                    self.superlatives.insert(key);
                }
                Content::Comparison(Comparison { other, quality }) => {
                    self.comparisons.insert((other, quality));
                }
                Content::Unnamed(authority) => {
                    self.authorities.insert(authority);
                }
                Content::Named(_) | Content::Absent(_) => {}
            }
        }
        let start = self.text.len();
        self.text.extend(part.chars().map(folded));
        self.text.push('\n');
        let added = self.text.get(start..).unwrap_or_default();
        for (authority, words) in AUTHORITIES {
            if words.iter().any(|word| added.contains(word)) {
                self.authorities.insert(*authority);
            }
        }
    }

    /// Adds the date and all its less exact forms.
    fn add_date(&mut self, date: CalendarDate) {
        for year in [date.year, None] {
            for month in [date.month, None] {
                for day in [date.day, None] {
                    self.dates.insert(CalendarDate { year, month, day });
                }
            }
        }
    }

    /// Whether a text needs a source for this statement.
    pub(super) fn asks_for(&self, statement: &Statement) -> bool {
        match &statement.need {
            Need::Always => true,
            Need::IfCounted(noun) => self.counted.contains(noun),
            Need::Never => false,
        }
    }

    /// Whether the material makes this statement.
    pub(super) fn grounds(&self, content: &Content, names: &mut LookedUp) -> bool {
        match content {
            Content::Quantity(quantity) => self.has_quantity(quantity),
            Content::Date(date) => self.has_date(*date),
            Content::Named(name) => self.has_name(name, names),
            Content::Unnamed(authority) => self.authorities.contains(authority),
            Content::Absent(thing) => self.says_absent(thing),
            Content::Superlative(key) => self.superlatives.contains(key),
            Content::Comparison(Comparison { other, quality }) => {
                self.comparisons.contains(&(other.clone(), quality.clone()))
            }
        }
    }

    /// Whether the material says that the thing is absent, in any of the usual forms.
    fn says_absent(&self, thing: &str) -> bool {
        const FORMS: &[&str] = &[
            "零",
            "0",
            "0 ",
            "无",
            "不含",
            "不加",
            "未添加",
            "没有",
            "zero ",
            "zero-",
            "no ",
            "no added ",
            "without ",
        ];
        FORMS
            .iter()
            .any(|form| self.text.contains(&format!("{form}{thing}")))
            || self.text.contains(&format!("{thing}-free"))
    }

    fn has_date(&self, date: CalendarDate) -> bool {
        let as_number = date.year.filter(|_| date.month.is_none() && date.day.is_none());
        self.dates.contains(&date)
            || as_number.is_some_and(|year| {
                let value = i128::from(year) * super::numerals::ONE;
                self.values.contains(&(Measure::Bare, value))
            })
    }

    fn has_name(&self, name: &str, names: &mut LookedUp) -> bool {
        if let Some(known) = names.get(name) {
            return *known;
        }
        if names.len() >= MOST_NAMES {
            return true;
        }
        let same = SAME_INSTITUTION.iter().find(|group| group.contains(&name));
        let found = self.text.contains(name)
            || same.is_some_and(|group| group.iter().any(|other| self.text.contains(other)));
        names.insert(name.to_owned(), found);
        found
    }

    /// Whether the material has each value of the quantity.
    fn has_quantity(&self, quantity: &Quantity) -> bool {
        quantity
            .values
            .iter()
            .all(|value| self.has_value(*value, quantity))
    }

    fn has_value(&self, value: Value, quantity: &Quantity) -> bool {
        let Value { base, written } = value;
        let related = related(quantity.measure);
        let measures = || related.iter().copied().chain([quantity.measure]);
        if measures().any(|measure| self.values.contains(&(measure, base)))
            || self.values.contains(&(Measure::Bare, written))
            || (quantity.measure == Measure::Bare && self.written.contains(&written))
        {
            return true;
        }
        // A rounded or limited value: the material has a value close to it.
        let tenth = base / 10;
        let below = if quantity.measure == Measure::Percent {
            tenth / 2
        } else {
            tenth
        };
        let (low, high) = match quantity.bound {
            Bound::Exactly => return false,
            Bound::About => (base - below, base + tenth / 2),
            Bound::AtLeast => (base, base + tenth.max(written_step(value))),
            Bound::AtMost => (base - tenth, base),
            Bound::Order => (base, base * 10),
            Bound::Fraction => (base - super::numerals::ONE / 2, base + super::numerals::ONE / 2),
        };
        measures().any(|measure| {
            self.values
                .range((measure, low)..=(measure, high))
                .next()
                .is_some()
        })
    }
}

/// The step of the last digit that is written: 10 000 of 两万, 10 of 120.
fn written_step(value: Value) -> i128 {
    let mut step = super::numerals::ONE;
    while value.written != 0 && value.written % (step * 10) == 0 {
        step *= 10;
    }
    let step = if value.written % step == 0 { step } else { 0 };
    // The step has the unit of the written value.
    if value.written == 0 {
        0
    } else {
        (value.base / value.written).max(1) * step
    }
}

/// The other measures whose values ground a value of this one. A thing of no known sort can be any counted thing.
fn related(measure: Measure) -> &'static [Measure] {
    match measure {
        Measure::Things => &[
            Measure::People,
            Measure::Cities,
            Measure::Countries,
            Measure::Stores,
        ],
        Measure::People | Measure::Cities | Measure::Countries | Measure::Stores => &[Measure::Things],
        _ => &[],
    }
}
