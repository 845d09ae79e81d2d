//! The form of an input: its format, its encoding, and how its columns become requests.

use std::path::Path;
use std::sync::Arc;

use encoding_rs::Encoding;

use crate::agent::Planner;
use crate::domain::request::Rules;
use crate::engine::input::table::mapping::Mapping;
use crate::engine::job::Input;

/// The format of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// Cells between commas, semicolons or tabs.
    Csv,
    /// Cells between tabs.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// How an input is read.
#[derive(Debug, Clone, Default)]
pub struct InputForm {
    /// How strictly lines are read.
    pub rules: Rules,
    /// The format; without it the name of the file decides.
    pub format: Option<InputFormat>,
    /// The encoding of a table; without it the encoding is recognised.
    pub encoding: Option<&'static Encoding>,
    /// How the columns of a table become requests.
    pub mapping: Arc<Mapping>,
    /// Whether the objects of JSON Lines are mapped too. If not, they are requests as they stand.
    pub maps_lines: bool,
}

impl InputFormat {
    /// Returns the format that the name of a file means, with or without the name of a compression behind it.
    fn of(path: &Path) -> Self {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        let name = [".gz", ".zst"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .unwrap_or(&name);
        match name.rsplit_once('.') {
            Some((_, "csv")) => Self::Csv,
            Some((_, "tsv")) => Self::Tsv,
            Some((_, "json")) => Self::Json,
            _ => Self::Jsonl,
        }
    }
}

impl InputForm {
    /// Returns the form of JSON Lines that are requests as they stand, unless the name of the input says otherwise.
    pub fn lines(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Returns the format of an input.
    pub fn format_of(&self, input: &Input) -> InputFormat {
        match (self.format, input) {
            (Some(format), _) => format,
            (None, Input::File(path)) => InputFormat::of(path),
            (None, Input::Stdin | Input::Spooled(_)) => InputFormat::Jsonl,
        }
    }

    /// Whether the input is a table. If not, its lines are requests as they stand.
    pub fn is_table(&self, input: &Input) -> bool {
        self.maps_lines || self.format_of(input) != InputFormat::Jsonl
    }

    /// Returns the word for a request of the input.
    pub fn row_word(&self, input: &Input) -> &'static str {
        if self.is_table(input) { "row" } else { "line" }
    }

    /// Returns a hasher for the bytes of an input. The options are part of the digest, because they change the meaning of
    /// a line.
    pub(super) fn hasher(&self, input: &Input, planner: &Planner) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        let mut options = format!(
            "nova3 input 1;lenient={};{}\n",
            self.rules.lenient,
            planner.fingerprint()
        );
        if self.rules.without_query {
            options += "without_query;";
        }
        if self.is_table(input) {
            options += &format!(
                "{:?};{};{:?}\n",
                self.format_of(input),
                self.encoding.map_or("", Encoding::name),
                self.mapping.fingerprint()
            );
        }
        hasher.update(options.as_bytes());
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_format() {
        for (name, format) in [
            ("a/products.csv", InputFormat::Csv),
            ("PRODUCTS.CSV.GZ", InputFormat::Csv),
            ("a.b.tsv.zst", InputFormat::Tsv),
            ("a.json", InputFormat::Json),
            ("a.jsonl", InputFormat::Jsonl),
            ("a.ndjson.gz", InputFormat::Jsonl),
            ("a.txt", InputFormat::Jsonl),
            ("csv", InputFormat::Jsonl),
            ("a.csv.gz.old", InputFormat::Jsonl),
        ] {
            assert_eq!(InputFormat::of(Path::new(name)), format, "{name}");
        }
    }
}
