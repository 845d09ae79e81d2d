//! The columns of a table row in templates: which ones a template names, and the template that makes the query of a
//! row.

use std::collections::BTreeSet;

use minijinja::{Environment, UndefinedBehavior, Value, context};

/// The variable that holds a row.
const ROW: &str = "row";

/// A name that stands for a column which a template names as `row["…"]`.
const STAND_IN: &str = "nova3_column_";

/// The instruction limit of one rendering, because a loop over a hostile cell must end.
const FUEL: u64 = 200_000;

/// The columns that templates name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowColumns {
    /// Whether a template uses the row as a whole, so that any column may be used.
    pub whole: bool,
    /// The columns that are named: `row.title`, `row["title"]`.
    pub names: BTreeSet<String>,
}

impl RowColumns {
    /// Returns the columns that a template names. Branches that are not taken count too.
    pub(super) fn of(templates: &Environment<'_>, source: &str) -> Result<Self, minijinja::Error> {
        let (plain, subscripts) = without_subscripts(source);
        let template = templates.template_from_str(&plain)?;
        let mut columns = Self::default();
        for variable in template.undeclared_variables(true) {
            let mut path = variable.split('.');
            if path.next() != Some(ROW) {
                continue;
            }
            let Some(name) = path.next() else {
                columns.whole = true;
                continue;
            };
            let subscript = name.strip_prefix(STAND_IN).and_then(|index| index.parse().ok());
            let name = subscript.and_then(|index: usize| subscripts.get(index)).copied();
            columns
                .names
                .insert(name.map_or_else(|| path_name(&variable), str::to_owned));
        }
        Ok(columns)
    }

    /// Adds the columns of another template.
    pub fn add(&mut self, other: &Self) {
        self.whole |= other.whole;
        self.names.extend(other.names.iter().cloned());
    }

    /// Whether no template uses the row.
    pub fn is_empty(&self) -> bool {
        !self.whole && self.names.is_empty()
    }
}

/// The column of a variable such as `row.title`.
fn path_name(variable: &str) -> String {
    variable.split('.').nth(1).unwrap_or_default().to_owned()
}

/// Replaces each `row["…"]` by a name without quotes, because the list of undeclared variables holds names only. Also
/// returns the replaced columns.
fn without_subscripts(source: &str) -> (String, Vec<&str>) {
    let (mut plain, mut columns) = (String::with_capacity(source.len()), Vec::new());
    let mut rest = source;
    while let Some(at) = rest.find("row[") {
        let (before, found) = rest.split_at(at);
        plain.push_str(before);
        let is_name = !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'));
        let subscript = found.strip_prefix("row[").and_then(subscript).filter(|_| is_name);
        if let Some((column, after)) = subscript {
            plain.push_str(&format!("{ROW}.{STAND_IN}{}", columns.len()));
            columns.push(column);
            rest = after;
        } else {
            plain.push_str("row[");
            rest = found.strip_prefix("row[").unwrap_or_default();
        }
    }
    plain.push_str(rest);
    (plain, columns)
}

/// Reads `"name"]`, and returns the name and the text behind it.
fn subscript(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (name, after) = text.get(1..)?.split_once(quote)?;
    let after = after.trim_start().strip_prefix(']')?;
    (!name.contains('\\')).then_some((name, after))
}

/// The template that makes the query of a row.
#[derive(Debug, Clone)]
pub struct QueryTemplate {
    templates: Environment<'static>,
    columns: RowColumns,
}

impl QueryTemplate {
    const NAME: &'static str = "query";

    /// Reads a template. `Err` has the reason, which names a variable that is no column.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_fuel(Some(FUEL));
        templates
            .add_template_owned(Self::NAME, text.to_owned())
            .map_err(|error| format!("{error:#}"))?;
        let template = templates
            .get_template(Self::NAME)
            .map_err(|error| error.to_string())?;
        let unknown = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| name != ROW && !templates.globals().any(|(global, _)| global == name))
            .min();
        if let Some(name) = unknown {
            return Err(format!(
                "it names `{name}`, expected a column such as `row.{name}`"
            ));
        }
        let columns = RowColumns::of(&templates, text).map_err(|error| error.to_string())?;
        Ok(Self { templates, columns })
    }

    /// The columns that it names.
    pub const fn columns(&self) -> &RowColumns {
        &self.columns
    }

    /// Makes the query of a row. `Err` has the reason.
    pub fn render(&self, row: impl IntoIterator<Item = (String, Value)>) -> Result<String, String> {
        let row = Value::from_pairs(row);
        let rendered = self
            .templates
            .get_template(Self::NAME)
            .and_then(|template| template.render(context! { row }));
        rendered.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(source: &str) -> (bool, Vec<String>) {
        let columns = RowColumns::of(&Environment::new(), source).unwrap();
        (columns.whole, columns.names.into_iter().collect())
    }

    #[test]
    fn named_columns_are_found() {
        for (source, whole, names) in [
            ("{{ query }} row.x row['y']", false, &[][..]),
            (
                "{{ row.title }}{% if row.b %}{{ row.title }}{% endif %}",
                false,
                &["b", "title"],
            ),
            (
                "{{ row['商品 名称'] }}{{ row[ \"a.b\" ] }}{{ row.价格 }}",
                false,
                &["a.b", "价格", "商品 名称"],
            ),
            ("{{ row.a.b }}", false, &["a"]),
            (
                "{% for name, value in row|items %}{{ value }}{% endfor %}{{ row.a }}",
                true,
                &["a"],
            ),
            ("{{ row[name] }}{{ arrow['x'] }}{{ a.row['x'] }}", true, &[]),
            (
                "{% for row in rows %}{{ row.a }}{{ row['b'] }}{% endfor %}",
                false,
                &[],
            ),
        ] {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(columns(source), (whole, names), "{source}");
        }
    }

    #[test]
    fn a_query_is_made_of_the_columns() {
        let template = QueryTemplate::new("为{{ row.标题 }}写一篇{{ range(2)|length }}").unwrap();
        let row = [("标题".to_owned(), Value::from("茶"))];
        assert_eq!(template.render(row).unwrap(), "为茶写一篇2");
        assert!(template.render([]).unwrap_err().contains("undefined"));
        let told = QueryTemplate::new("{{ title }}").unwrap_err();
        assert_eq!(told, "it names `title`, expected a column such as `row.title`");
        assert!(QueryTemplate::new("{{ row.title").is_err());
    }
}
