//! How the columns of a row become a request line.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Cell, FIELDS, TableField, write_text};
use crate::agent::{QueryTemplate, RowColumns};

/// The most columns that a message lists.
const LISTED: usize = 30;

/// Which column fills which field of a request, and which columns its templates use.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    query: Option<QueryTemplate>,
    /// The text of the query template, and the columns of fields: the digest of an input depends on them.
    text: String,
    /// The columns of fields that are not taken from the column of their own name. An empty one turns a field off.
    map: BTreeMap<String, String>,
    /// The columns that the templates of all agents name. They are stored with the request.
    stored: RowColumns,
    /// The columns that must exist, because an agent of this run names them.
    needed: RowColumns,
}

/// The places of the columns that a table gives to the request.
#[derive(Debug, Default)]
pub(super) struct Binding {
    fields: Vec<(&'static TableField, usize)>,
    query: Vec<usize>,
    row: Vec<usize>,
}

/// A row, as its format gives it.
#[derive(Clone, Copy)]
pub(super) struct TableRow<'r> {
    pub(super) names: &'r [String],
    pub(super) cells: &'r [Cell<'r>],
}

impl Mapping {
    /// Makes a mapping from the settings, the columns that templates of agents name, and those of them that the agents
    /// of this run need. `Err` has the reason, which names the setting.
    pub fn new(
        query: Option<&str>,
        map: &BTreeMap<String, String>,
        stored: RowColumns,
        needed: RowColumns,
    ) -> Result<Self, String> {
        if let Some(unknown) = map.keys().find(|name| find(name).is_none()) {
            let known: Vec<String> = FIELDS.iter().map(|field| format!("`{}`", field.name)).collect();
            return Err(format!(
                "`--map`: expected a field of a request, got `{unknown}` (known: {})",
                known.join(", ")
            ));
        }
        let text = format!("{query:?} {map:?}");
        let query = query
            .map(|text| QueryTemplate::new(text).map_err(|reason| format!("`--query`: {reason}")))
            .transpose()?;
        Ok(Self {
            query,
            text,
            map: map.clone(),
            stored,
            needed,
        })
    }

    /// Whether it renames nothing and makes no query.
    pub(super) fn is_plain(&self) -> bool {
        self.query.is_none() && self.map.is_empty()
    }

    /// Whether an agent of this run names a column.
    pub(super) fn needs_columns(&self) -> bool {
        !self.needed.names.is_empty()
    }

    /// A text that changes when rows become other requests.
    pub(in crate::engine) fn fingerprint(&self) -> String {
        format!("{} {:?}", self.text, self.stored)
    }

    /// Finds the columns of a row or of a header. `Err` has the reason.
    pub(super) fn bind(&self, names: &[String]) -> Result<Binding, String> {
        let place = |column: &str| names.iter().position(|name| name == column);
        let mut binding = Binding::default();
        let mut missing: Vec<String> = Vec::new();
        for field in &FIELDS {
            let own = self.map.get(field.name).map(String::as_str);
            let column = own.unwrap_or(field.name);
            if column.is_empty() || (field.name == "query" && self.query.is_some()) {
                continue;
            }
            match place(column) {
                Some(at) => binding.fields.push((field, at)),
                None if own.is_some() => missing.push(format!("`{column}` (for `{}`)", field.name)),
                None => {}
            }
        }
        if let Some(query) = &self.query {
            let places = places(query.columns(), names);
            binding.query = places.found;
            missing.extend(places.missing.map(|name| format!("`{name}` (for `--query`)")));
        }
        binding.row = places(&self.stored, names).found;
        let of_agents = places(&self.needed, names).missing;
        missing.extend(of_agents.map(|name| format!("`{name}` (for the template of an agent)")));
        if missing.is_empty() {
            binding.check(names)?;
            return Ok(binding);
        }
        Err(format!(
            "expected a column {}, got {}",
            missing.join(" and "),
            listed(names)
        ))
    }

    /// Writes the request line of a row. `Err` has the reason.
    pub(super) fn write(
        &self,
        binding: &Binding,
        row: TableRow<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.clear();
        out.push(b'{');
        if let Some(query) = &self.query {
            let cells = binding.query.iter().filter_map(|at| row.get(*at));
            let rendered = query
                .render(cells.map(|(name, cell)| (name.to_owned(), value(cell))))
                .map_err(|reason| format!("`--query` cannot be rendered: {reason}"))?;
            write_key(out, "query");
            write_text(out, &rendered);
        }
        binding.write_fields(row, "", out);
        let begun = begin_object(out, "background");
        binding.write_fields(row, "background.", out);
        let inner = begin_object(out, "product");
        binding.write_fields(row, "background.product.", out);
        end_object(out, inner);
        end_object(out, begun);
        if !binding.row.is_empty() {
            let begun = begin_object(out, "row");
            for (name, cell) in binding.row.iter().filter_map(|at| row.get(*at)) {
                write_key(out, name);
                cell.write_json(out);
            }
            end_object(out, begun);
        }
        out.push(b'}');
        Ok(())
    }
}

impl Binding {
    /// Writes the fields of one object.
    fn write_fields(&self, row: TableRow<'_>, object: &str, out: &mut Vec<u8>) {
        for (field, at) in &self.fields {
            let is_inside = field
                .name
                .strip_prefix(object)
                .is_some_and(|key| !key.contains('.'));
            let Some((column, cell)) = row.get(*at).filter(|_| is_inside) else {
                continue;
            };
            let begun = out.len();
            write_key(out, field.key());
            if !field.write(out, column, cell) {
                out.truncate(begun);
            }
        }
    }

    /// Checks that no column that is used stands twice, and that an object is not given as a whole and in parts.
    fn check(&self, names: &[String]) -> Result<(), String> {
        let of_fields = self.fields.iter().map(|(_, at)| at);
        for at in of_fields.chain(&self.query).chain(&self.row) {
            let Some(name) = names.get(*at) else { continue };
            let mut others = names.iter().enumerate().filter(|(other, _)| other != at);
            if let Some((other, _)) = others.find(|(_, other)| *other == name) {
                return Err(format!(
                    "expected each column once, got `{name}` as column {} and as column {} (rename one)",
                    at + 1,
                    other + 1
                ));
            }
        }
        for (field, _) in &self.fields {
            let inside = format!("{}.", field.name);
            if let Some((part, _)) = self
                .fields
                .iter()
                .find(|(part, _)| part.name.starts_with(&inside))
            {
                return Err(format!(
                    "expected a column for `{}` or for its parts, got both: `{}` too (turn one off: `--map {}=`)",
                    field.name, part.name, field.name
                ));
            }
        }
        Ok(())
    }

    /// The fields that are taken from a column of another name, each with that name.
    pub(super) fn renamed<'b>(
        &'b self,
        names: &'b [String],
    ) -> impl Iterator<Item = (&'static str, &'b str)> {
        self.fields.iter().filter_map(|(field, at)| {
            let name = names.get(*at)?;
            (name != field.name).then_some((field.name, name.as_str()))
        })
    }

    /// The value of `custom_id` in a row that is no request.
    pub(super) fn custom_id(&self, row: TableRow<'_>) -> Option<String> {
        let (field, at) = self.fields.iter().find(|(field, _)| field.name == "custom_id")?;
        let (column, cell) = row.get(*at)?;
        let mut id = Vec::new();
        field.write(&mut id, column, cell);
        let id: String = serde_json::from_slice(&id).ok()?;
        (1..=200).contains(&id.chars().count()).then_some(id)
    }
}

impl<'r> TableRow<'r> {
    fn get(self, at: usize) -> Option<(&'r str, Cell<'r>)> {
        Some((self.names.get(at)?, *self.cells.get(at)?))
    }
}

/// Places of columns, and the columns that have none.
struct Places<M> {
    found: Vec<usize>,
    missing: M,
}

fn places<'c>(columns: &'c RowColumns, names: &'c [String]) -> Places<impl Iterator<Item = &'c String>> {
    let is_named = |name: &String| columns.whole || columns.names.contains(name);
    let named = names.iter().enumerate().filter(|(_, name)| is_named(name));
    Places {
        found: named
            .filter(|(_, name)| !name.is_empty())
            .map(|(at, _)| at)
            .collect(),
        missing: columns.names.iter().filter(|name| !names.contains(name)),
    }
}

fn find(name: &str) -> Option<&'static TableField> {
    FIELDS.iter().find(|field| field.name == name)
}

/// The value of a cell in the template of the query. Null counts as an empty text.
fn value(cell: Cell<'_>) -> minijinja::Value {
    match cell {
        Cell::Text(text) => minijinja::Value::from(text),
        Cell::Json(raw) => match serde_json::from_str(raw.get()) {
            Ok(Value::Null) | Err(_) => minijinja::Value::from(""),
            Ok(value) => minijinja::Value::from(minijinja::value::Serde(value)),
        },
    }
}

/// The names of columns, for a message.
pub(super) fn listed(names: &[String]) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{}`", crate::domain::ids::shortened(name, 60)))
        .collect();
    if names.len() > LISTED {
        shown.push(format!("and {} more", names.len() - LISTED));
    }
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    write_text(out, key);
    out.push(b':');
}

/// Begins an object within one. Returns the length before it, and the length behind its opening brace.
fn begin_object(out: &mut Vec<u8>, key: &str) -> (usize, usize) {
    let before = out.len();
    write_key(out, key);
    out.push(b'{');
    (before, out.len())
}

/// Ends an object. One without keys is taken back.
fn end_object(out: &mut Vec<u8>, (before, begun): (usize, usize)) {
    if out.len() == begun {
        out.truncate(before);
    } else {
        out.push(b'}');
    }
}
