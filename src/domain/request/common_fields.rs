//! The optional keys that every form may have.

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::fields::{Complaint, Fields, ValuePlace};
use super::tree::Tree;
use crate::domain::ids::{BadName, SessionId, UserId, shortened};

/// A task that the line itself gives, instead of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenTask {
    /// The action.
    pub action: Action,
    /// The instruction; the `description` if the line gives no `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

/// The most characters of a `custom_id`.
pub(super) const MAX_ID: usize = 200;

pub(super) fn custom_id(top: &Fields<'_, '_>) -> Result<Option<String>, Complaint> {
    let Some(id) = top.text("custom_id")? else {
        return Ok(None);
    };
    let length = id.chars().count();
    if !(1..=MAX_ID).contains(&length) {
        return Err(Complaint(format!(
            "expected `custom_id` to have 1 to {MAX_ID} characters, got {length}"
        )));
    }
    if id.chars().any(char::is_control) {
        return Err(Complaint(format!(
            "expected `custom_id` without control characters, got `{}` (remove them)",
            shortened(id, 60)
        )));
    }
    Ok(Some(id.to_owned()))
}

pub(super) fn user(top: &Fields<'_, '_>) -> Result<UserId, Complaint> {
    top.text("user_id")?
        .map_or_else(|| Ok(UserId::default()), UserId::parse)
        .map_err(|error: BadName| Complaint(format!("`user_id`: {error}")))
}

pub(super) fn session(top: &Fields<'_, '_>) -> Result<Option<SessionId>, Complaint> {
    top.text("session_id")?
        .map(SessionId::parse)
        .transpose()
        .map_err(|error| Complaint(format!("`session_id`: {error}")))
}

pub(super) fn model(top: &Fields<'_, '_>) -> Result<Option<String>, Complaint> {
    match top.text("model")? {
        Some(name) if name.trim().is_empty() => Err(Complaint(
            "expected `model` to name a route or chain, got an empty string (remove the key to use the default)"
                .to_owned(),
        )),
        name => Ok(name.map(str::to_owned)),
    }
}

pub(super) fn priority(top: &Fields<'_, '_>) -> Result<i32, Complaint> {
    match top.get("priority") {
        None => Ok(0),
        Some(Tree::Number(number)) => number
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| {
                Complaint(format!(
                    "expected `priority` to be an integer from {} to {}, got `{number}`",
                    i32::MIN,
                    i32::MAX
                ))
            }),
        Some(other) => Err(top.at("priority").expected("an integer", other)),
    }
}

pub(super) fn until(top: &Fields<'_, '_>) -> Result<Option<Action>, Complaint> {
    top.text("until")?
        .map(|name| action(&top.at("until"), name))
        .transpose()
}

pub(super) fn tasks(top: &Fields<'_, '_>) -> Result<Option<Vec<GivenTask>>, Complaint> {
    if top.get("tasks").is_none() {
        return Ok(None);
    }
    let items = top.list("tasks")?;
    if !(1..=10).contains(&items.len()) {
        return Err(Complaint(format!(
            "expected `tasks` to hold 1 to 10 tasks, got {}",
            items.len()
        )));
    }
    let list = top.at("tasks");
    items
        .iter()
        .enumerate()
        .map(|(index, item)| task(ValuePlace::Index(&list, index), item))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn task(place: ValuePlace<'_>, item: &Tree<'_>) -> Result<GivenTask, Complaint> {
    if let Tree::Text(name) = item {
        return Ok(GivenTask {
            action: action(&place, name)?,
            input: None,
        });
    }
    let Tree::Object(entries) = item else {
        return Err(place.expected("an action or an object", item));
    };
    let fields = Fields { place, entries };
    let Some(name) = fields.text("action")? else {
        return Err(Complaint(format!(
            "expected `{place}` to have an `action`, got none"
        )));
    };
    let description = fields.text("description")?;
    let input = fields.text("input")?.or(description);
    Ok(GivenTask {
        action: action(&fields.at("action"), name)?,
        input: input.filter(|text| !text.trim().is_empty()).map(str::to_owned),
    })
}

/// Reads the name of an action. The planner checks whether there is an agent for it.
fn action(place: &ValuePlace<'_>, name: &str) -> Result<Action, Complaint> {
    Action::parse(name).ok_or_else(|| {
        Complaint(format!(
            "expected `{place}` to be an action such as `insight`, got `{}`",
            shortened(name, 60)
        ))
    })
}
