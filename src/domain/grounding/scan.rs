//! Reads a text once and applies each rule at each place.

use std::rc::Rc;

use super::piece::{Piece, is_letter, pieces};
use super::statement::{Content, Need, Statement};
use super::{comparisons, dates, exempt, institutions, quantities, superlatives};

/// Returns the statements of `text` in their order, each with its piece.
pub(super) fn statements(text: &str) -> impl Iterator<Item = (Rc<Piece>, Statement)> {
    pieces(text).flat_map(|piece| {
        let piece = Rc::new(piece);
        let found = in_piece(&piece);
        found
            .into_iter()
            .map(move |statement| (Rc::clone(&piece), statement))
    })
}

fn in_piece(piece: &Piece) -> Vec<Statement> {
    let mut found = numeric(piece);
    let taken: Vec<(usize, usize)> = found
        .iter()
        .map(|statement| (statement.start, statement.end))
        .collect();
    for rule in [institutions::read, superlatives::read, comparisons::read] {
        let mut at = 0;
        while at < piece.folded.len() {
            match rule(piece, at) {
                Some(statement) => {
                    at = statement.end.max(at + 1);
                    found.push(statement);
                }
                None => at += 1,
            }
        }
    }
    let names: Vec<(usize, usize)> = found
        .iter()
        .filter(|statement| matches!(statement.content, Content::Named(_)))
        .map(|statement| (statement.start, statement.end))
        .collect();
    // A number inside a name (《2025中国美妆白皮书》) and a comparison inside a multiple (twice as fast) are not reported twice.
    found.retain(|statement| {
        let inside = |spans: &[(usize, usize)]| {
            spans
                .iter()
                .any(|(start, end)| *start <= statement.start && statement.end <= *end)
        };
        match statement.content {
            Content::Quantity(_) | Content::Date(_) => !inside(&names),
            Content::Comparison(_) => !inside(&taken),
            // 民政部的数据显示 names its source.
            Content::Unnamed(_) => !names
                .iter()
                .any(|(_, end)| (*end..=*end + 1).contains(&statement.start)),
            _ => true,
        }
    });
    found.sort_by_key(|statement| statement.start);
    found
}

/// Whether a number, a price or a fixed expression with a number word may begin with the character.
fn may_begin_number(c: char) -> bool {
    const BEGINNINGS: &str = "零一二两三四五六七八九十百千万亿半几数独¥$£€";
    c.is_ascii_alphanumeric() || BEGINNINGS.contains(c)
}

/// Reads dates and quantities. A place belongs to one of them only.
fn numeric(piece: &Piece) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < piece.folded.len() {
        if !piece.is(at, may_begin_number) || (piece.is(at, is_letter) && !piece.starts_word(at)) {
            at += 1;
            continue;
        }
        if let Some(end) = exempt::address(piece, at) {
            at = end;
            continue;
        }
        let inside_word = piece.is(at, |c| c.is_ascii_digit())
            && piece.before(at).is_some_and(|c| c.is_ascii_alphanumeric());
        if !inside_word && let Some((date, end)) = dates::read(piece, at) {
            found.push(Statement {
                start: at,
                end,
                content: Content::Date(date),
                need: Need::Always,
            });
            at = end.max(at + 1);
            continue;
        }
        match quantities::read(piece, at) {
            Some(reading) => {
                found.extend(reading.statement);
                at = reading.end.max(at + 1);
            }
            None => at += 1,
        }
    }
    found
}
