//! A request for planned work: the keys of `request_data`, or of a flat line.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Rules;
use super::action::Action;
use super::common_fields::{self, GivenTask};
use super::fields::{Complaint, Fields};
use super::product::{self, ProductBrief};
use super::selections::{self, Selections};
use super::stops::Stops;
use super::tree::Tree;
use crate::domain::ids::shortened;

/// The most levels of free-form context and of a row. Deeper context is refused, so that the JSON around it stays within the limits
/// of JSON readers.
const CONTEXT_LEVELS: usize = 100;

/// A request that agents plan and do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// The question or task: 1 to 5000 characters; absent only beside a selection or a reference, or if no task of the request needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The way to handle the request.
    pub interaction: Interaction,
    /// The account and its audience.
    pub background: Background,
    /// Free-form context of the client; always an object.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "stored_context"
    )]
    pub context: Option<Value>,
    /// The columns of the row of a table that templates name; always an object.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "stored_context"
    )]
    pub row: Option<Value>,
    /// The items that the person was shown.
    pub selections: Selections,
    /// Items referred to, each as `@insight1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Whether the queue runs to its end; otherwise it pauses after each task.
    pub auto: bool,
    /// The tasks, if the line gives them itself; otherwise a plan does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<GivenTask>>,
    /// The action after which the queue pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Action>,
}

/// How a request is handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Interaction {
    /// With a plan of several tasks.
    #[default]
    #[serde(rename = "full_analysis")]
    FullAnalysis,
    /// With one answer.
    #[serde(rename = "quick_suggestion")]
    QuickSuggestion,
    /// By the session's pending tasks.
    #[serde(rename = "nova3_continue")]
    Continue,
    /// By the session's pending tasks and the selected items.
    #[serde(rename = "nova3_select")]
    Select,
}

impl Interaction {
    /// All interactions, the default first.
    pub const ALL: [Self; 4] = [
        Self::FullAnalysis,
        Self::QuickSuggestion,
        Self::Continue,
        Self::Select,
    ];

    /// The name in `interaction_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullAnalysis => "full_analysis",
            Self::QuickSuggestion => "quick_suggestion",
            Self::Continue => "nova3_continue",
            Self::Select => "nova3_select",
        }
    }

    /// Returns the interaction with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl Brief {
    /// Returns the row of a table that the request was made of.
    pub fn row(&self) -> Option<&Map<String, Value>> {
        self.row.as_ref().and_then(Value::as_object)
    }

    /// Returns where its queue stops for a person to choose.
    pub fn stops(&self) -> Stops {
        Stops {
            until: self.until.clone(),
            each: !self.auto,
        }
    }
}

/// The account that asks, and its audience.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Background {
    /// The account that will publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// The platform on which it publishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The target audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_audience: Option<String>,
    /// The industry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub industry: Option<String>,
    /// The tone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand_style: Option<String>,
    /// Earlier posts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_content: Vec<String>,
    /// The product that the request is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductBrief>,
}

/// Reads a brief from `fields`, and its plan from the keys of `top`.
pub(super) fn brief(fields: &Fields<'_, '_>, top: &Fields<'_, '_>, rules: Rules) -> Result<Brief, Complaint> {
    for key in ["user_selections", "file_ids"] {
        foreign_list(fields, key)?;
    }
    let interaction = interaction(fields)?;
    let background = fields.object("background")?;
    let selected = fields.object("nova3_selections")?;
    let selections = selected
        .as_ref()
        .map(selections::selections)
        .transpose()?
        .unwrap_or_default();
    let references = references(fields)?;
    let query = query(fields)?;
    let is_asked = query.is_some() || rules.without_query;
    if !is_asked && selections.items.is_empty() && references.is_empty() {
        return Err(nothing_asked(fields));
    }
    Ok(Brief {
        query,
        interaction,
        background: background
            .as_ref()
            .map(self::background)
            .transpose()?
            .unwrap_or_default(),
        context: object(fields, "interaction_context")?,
        row: object(fields, "row")?,
        selections,
        references,
        auto: fields.flag("auto")?.unwrap_or(true),
        tasks: common_fields::tasks(top)?,
        until: common_fields::until(top)?,
    })
}

fn foreign_list(fields: &Fields<'_, '_>, key: &str) -> Result<(), Complaint> {
    match fields.list(key)?.len() {
        0 => Ok(()),
        length => Err(Complaint(format!(
            "expected `{}` to be empty, got a list of {length} (it belongs to another product of the Nova family; remove it)",
            fields.at(key)
        ))),
    }
}

fn interaction(fields: &Fields<'_, '_>) -> Result<Interaction, Complaint> {
    let Some(name) = fields.text("interaction_type")? else {
        return Ok(Interaction::default());
    };
    let place = fields.at("interaction_type");
    let known = || Interaction::ALL.map(|known| format!("`{}`", known.as_str()));
    match Interaction::parse(name) {
        Some(interaction) => Ok(interaction),
        None if matches!(name, "write_copy" | "diagnose_avatar") => Err(Complaint(format!(
            "expected `{place}` of nova3, got `{name}` of another product of the Nova family (known: {})",
            known().join(", ")
        ))),
        None => Err(Complaint(format!(
            "expected a known `{place}`, got `{}` (known: {})",
            shortened(name, 60),
            known().join(", ")
        ))),
    }
}

/// Reads the query. A query with nothing but whitespace counts as empty.
fn query(fields: &Fields<'_, '_>) -> Result<Option<String>, Complaint> {
    let query = fields.text("query")?.unwrap_or_default();
    let length = query.chars().count();
    if length > 5000 {
        return Err(Complaint(format!(
            "expected `{}` to have at most 5000 characters, got {length} (shorten it, move source text into `background.previous_content`, or split it into several requests)",
            fields.at("query")
        )));
    }
    Ok(Some(query)
        .filter(|query| !query.trim().is_empty())
        .map(str::to_owned))
}

fn nothing_asked(fields: &Fields<'_, '_>) -> Complaint {
    let given = if fields.get("query").is_some() {
        "an empty one"
    } else {
        "none"
    };
    Complaint(format!(
        "expected `{}` to have 1 to 5000 characters, got {given} (it may be absent only beside a selection or a reference)",
        fields.at("query")
    ))
}

fn background(fields: &Fields<'_, '_>) -> Result<Background, Complaint> {
    Ok(Background {
        account_name: fields.owned_text("account_name")?,
        platform: fields.owned_text("platform")?,
        target_audience: fields.owned_text("target_audience")?,
        industry: fields.owned_text("industry")?,
        brand_style: fields.owned_text("brand_style")?,
        previous_content: fields.texts("previous_content")?,
        product: product(fields)?,
    })
}

/// Reads the product. An object without content counts as absent.
fn product(fields: &Fields<'_, '_>) -> Result<Option<ProductBrief>, Complaint> {
    let object = fields.object("product")?;
    let product = object.as_ref().map(product::product).transpose()?;
    Ok(product.filter(|product| *product != ProductBrief::default()))
}

/// Reads an object of any form.
fn object(fields: &Fields<'_, '_>, key: &str) -> Result<Option<Value>, Complaint> {
    let Some(value) = fields.get(key) else {
        return Ok(None);
    };
    let place = fields.at(key);
    Fields::of(place, value)?;
    match value.to_value(CONTEXT_LEVELS) {
        Some(value) => Ok(Some(value)),
        None => Err(Complaint(format!(
            "expected `{place}` to have at most {CONTEXT_LEVELS} levels of nesting, got more (flatten the value)"
        ))),
    }
}

fn references(fields: &Fields<'_, '_>) -> Result<Vec<String>, Complaint> {
    let references = fields.texts("references")?;
    match references.iter().position(|text| !is_reference(text)) {
        None => Ok(references),
        Some(index) => Err(Complaint(format!(
            "expected `{}[{index}]` to look like `@insight1`, got `{}`",
            fields.at("references"),
            shortened(&references[index], 60)
        ))),
    }
}

/// Whether `text` is `@`, a name of ASCII letters and underscores, and a number.
fn is_reference(text: &str) -> bool {
    let Some(id) = text.strip_prefix('@') else {
        return false;
    };
    let name = id.trim_end_matches(|c: char| c.is_ascii_digit());
    name.len() < id.len()
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
}

/// Reads a stored context without `serde_json::Value`'s own reader, which gives one certain key a hidden meaning.
fn stored_context<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let stored = Option::<Tree<'de>>::deserialize(deserializer)?;
    Ok(stored.and_then(|tree| tree.to_value(CONTEXT_LEVELS)))
}
