//! The tree of files that is checked, and the helpers of the checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{cluster, compose, forge, image, page};

/// The folder of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the checked files: the repository, or a broken copy of it.
pub(super) struct Tree {
    pub(super) folder: PathBuf,
}

impl Tree {
    pub(super) fn text(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(self.folder.join(path)).map_err(|error| format!("{path}: {error}"))
    }

    pub(super) fn yaml(&self, path: &str) -> Result<Value, String> {
        serde_saphyr::from_str(&self.text(path)?).map_err(|error| format!("{path}: {error}"))
    }

    /// The YAML files of a folder, and its folders.
    pub(super) fn entries(&self, folder: &str) -> Result<Vec<String>, String> {
        let said = |error| format!("{folder}: {error}");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.folder.join(folder)).map_err(said)? {
            names.push(entry.map_err(said)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// All faults.
    pub(super) fn faults(&self) -> Vec<String> {
        let parts = [
            image::faults,
            compose::faults,
            cluster::faults,
            page::faults,
            forge::faults,
        ];
        parts
            .iter()
            .flat_map(|part| part(self).unwrap_or_else(|fault| vec![fault]))
            .collect()
    }
}

/// Cached results by their input: more than a hundred broken trees ask the shell, nova3 and a schema the same
/// questions.
pub(super) struct Memo<V>(Mutex<BTreeMap<String, V>>);

impl<V: Clone> Memo<V> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(super) fn of(&self, question: String, answer: impl FnOnce() -> V) -> V {
        let known = self.0.lock().ok().and_then(|known| known.get(&question).cloned());
        known.unwrap_or_else(|| {
            let answer = answer();
            if let Ok(mut known) = self.0.lock() {
                known.insert(question, answer.clone());
            }
            answer
        })
    }
}

/// The faults that one check finds; an error if the check cannot go on.
pub(super) type Found = Result<Vec<String>, String>;

/// The places where a value differs from its schema.
pub(super) fn differences(schema: &str, definition: Option<&str>, value: &Value, place: &str) -> Found {
    static KNOWN: Memo<Found> = Memo::new();
    KNOWN.of(format!("{place} {definition:?} {value} {schema}"), || {
        compare(schema, definition, value, place)
    })
}

fn compare(schema: &str, definition: Option<&str>, value: &Value, place: &str) -> Found {
    let mut schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    if let Some(definition) = definition {
        if schema["$defs"][definition].is_null() {
            return Ok(vec![format!(
                "{place}: `{definition}` is no kind that is used here"
            )]);
        }
        schema["$ref"] = json!(format!("#/$defs/{definition}"));
    }
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    let errors = validator.iter_errors(value);
    Ok(errors
        .map(|error| format!("{place}: {}: {error}", error.instance_path()))
        .collect())
}

/// The texts of an array. Empty if the value is no array.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .map(|items| items.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// The version in the tags of images.
pub(super) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
