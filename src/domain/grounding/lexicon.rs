//! The word lists of the rules, which stand in text files beside the rules.
//!
//! A line is `name: word, word`. Lines that begin with `#` are comments. A name may stand on several lines.

use std::sync::LazyLock;

/// A word list that is read at its first use.
pub(super) type WordList = LazyLock<Vec<&'static str>>;

/// A list of words with the groups in which they mean the same.
pub(super) type GroupList = LazyLock<Vec<(&'static str, &'static str)>>;

/// Returns the words of `file` under `name`.
pub(super) fn list(file: &'static str, name: &str) -> Vec<&'static str> {
    let lines = entries(file).filter(|(known, _)| *known == name);
    lines.flat_map(|(_, words)| words.split(", ")).collect()
}

/// Returns all words whose names begin with `prefix`, each with the rest of its name as its group.
pub(super) fn groups(file: &'static str, prefix: &str) -> Vec<(&'static str, &'static str)> {
    entries(file)
        .filter_map(|(name, words)| Some((name.strip_prefix(prefix)?, words)))
        .flat_map(|(group, words)| words.split(", ").map(move |word| (word, group)))
        .collect()
}

fn entries(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment: no, words\na: 一, 二\nb one: x\na: three four\nb two: y, z\n";

    #[test]
    fn the_word_files_are_written_well() {
        for file in [
            include_str!("words/comparisons.txt"),
            include_str!("words/counts.txt"),
            include_str!("words/exempt.txt"),
            include_str!("words/institutions.txt"),
            include_str!("words/superlatives.txt"),
        ] {
            for line in file.lines().filter(|line| !line.starts_with('#')) {
                let (name, words) = line.split_once(": ").unwrap();
                assert!(!name.is_empty() && name == name.trim(), "{line}");
                assert!(words.split(", ").all(|word| !word.is_empty()), "{line}");
            }
        }
    }

    #[test]
    fn lists_and_groups_are_read() {
        assert_eq!(list(FILE, "a"), ["一", "二", "three four"]);
        assert_eq!(list(FILE, "c"), [""; 0]);
        assert_eq!(groups(FILE, "b "), [("x", "one"), ("y", "two"), ("z", "two")]);
    }
}
