//! The items that a person was shown, chose and commented on.

use serde::{Deserialize, Serialize};

use super::action;
use super::fields::{Complaint, Fields, ValuePlace};
use super::tree::Tree;

/// All items of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selections {
    /// The items by list, within a list in the order of the line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Selection>,
    /// The person's comment on the task as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_context: Option<String>,
}

/// One item that was shown to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The list of the item: the content type of its action, such as `nova3_insight`.
    #[serde(default)]
    pub list: String,
    /// The item's id, such as `insight1`.
    pub id: String,
    /// The item's title, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The item's text, as the person saw or changed it.
    pub content: String,
    /// Whether it was chosen; true for an entry without this key.
    pub selected: bool,
    /// The person's comment on the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_comment: Option<String>,
}

impl Selections {
    /// The items that were chosen.
    pub fn chosen(&self) -> impl Iterator<Item = &Selection> {
        self.items.iter().filter(|item| item.selected)
    }

    /// The items that were shown and not chosen.
    pub fn left(&self) -> impl Iterator<Item = &Selection> {
        self.items.iter().filter(|item| !item.selected)
    }
}

pub(super) fn selections(fields: &Fields<'_, '_>) -> Result<Selections, Complaint> {
    let mut lists: Vec<&str> = fields
        .entries
        .iter()
        .map(|(key, _)| key.as_ref())
        .filter(|key| action::is_selection_list(key))
        .collect();
    lists.sort_by_key(|key| (action::list_order(key), *key));
    let mut items = Vec::new();
    for key in lists {
        let list = fields.at(key);
        for (index, item) in fields.list(key)?.iter().enumerate() {
            items.push(selection(key, ValuePlace::Index(&list, index), item)?);
        }
    }
    Ok(Selections {
        items,
        task_context: fields.owned_text("task_context")?,
    })
}

fn selection(list: &str, place: ValuePlace<'_>, item: &Tree<'_>) -> Result<Selection, Complaint> {
    let fields = Fields::of(place, item)?;
    let needed = |key| {
        fields
            .owned_text(key)?
            .ok_or_else(|| Complaint(format!("expected `{place}` to have `{key}`, got none")))
    };
    Ok(Selection {
        list: list.to_owned(),
        id: needed("id")?,
        title: fields.owned_text("title")?,
        content: needed("content")?,
        selected: fields.flag("selected")?.unwrap_or(true),
        user_comment: fields.owned_text("user_comment")?,
    })
}
