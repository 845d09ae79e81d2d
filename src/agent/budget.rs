//! Cuts the enhanced input to a budget of tokens.
//!
//! Each part has its own bound, and all parts together must fit the context window of the route. Pieces that do not
//! fit are left out: the least important part first, and its oldest piece first. A warning lists everything that was
//! left out.

use super::parts::{ChosenItem, Comment, ItemText, Named, PromptParts, RoundPart, SearchHit, TaskPart};
use crate::config::ContextBudget;
use crate::domain::printable::counted;
use crate::llm::estimate_tokens;

/// Estimated tokens of the chat format and the marks around one piece.
const PER_PIECE: u64 = 16;

/// The tokens that a search result keeps at least, when the bound is shared by many results.
const SHORTEST_HIT: u64 = 200;

/// Estimated tokens up to which the account and the product are never cut.
const SHORT: u64 = 400;

impl PromptParts {
    /// Cuts each part to its bound, then all parts together to `room` tokens. Returns a description of everything that
    /// was left out. `Err` holds the tokens that are still needed when the request itself does not fit.
    pub(super) fn fit(&mut self, budget: &ContextBudget, room: u64) -> Result<Option<String>, u64> {
        let mut out = LeftOut::default();
        self.bound_parts(budget, &mut out);
        while self.tokens() > room {
            if !self.leave_one_out(&mut out) {
                return Err(self.tokens());
            }
        }
        Ok(out.told())
    }

    /// Cuts each text that alone exceeds the bound of its part. No text is dropped here.
    fn cut_texts(&mut self, budget: &ContextBudget, out: &mut LeftOut) {
        let mut cut = |text: &mut String, tokens: u64| out.cut += u64::from(cut_to(text, tokens));
        for item in &mut self.chosen {
            cut(&mut item.text, budget.chosen_tokens);
        }
        for item in &mut self.references {
            cut(&mut item.text, budget.reference_tokens);
        }
        for item in self.earlier.iter_mut().flat_map(|task| &mut task.items) {
            cut(&mut item.text, budget.earlier_tokens);
        }
        for item in self.rounds.iter_mut().flat_map(|round| &mut round.items) {
            cut(&mut item.text, budget.round_tokens);
        }
        let share = budget.search_tokens / (self.results.len().max(1) as u64);
        for hit in &mut self.results {
            cut(&mut hit.text, share.max(SHORTEST_HIT));
        }
        for text in &mut self.previous {
            cut(text, budget.background_tokens);
        }
    }

    fn bound_parts(&mut self, budget: &ContextBudget, out: &mut LeftOut) {
        self.cut_texts(budget, out);
        out.rounds += drop_to(&mut self.rounds, budget.round_tokens);
        let free =
            |parts: &Self| parts.context.as_deref().map_or(0, estimate_tokens) + parts.account_and_product();
        let room = budget.background_tokens.saturating_sub(free(self));
        out.background += drop_to(&mut self.previous, room);
        while free(self) + weigh_all(&self.previous) > budget.background_tokens
            && self.leave_background_out(out)
        {}
        while weigh_all(&self.earlier) > budget.earlier_tokens && self.leave_earlier_out(out) {}
        while weigh_all(&self.results) > budget.search_tokens && self.results.pop().is_some() {
            out.results += 1;
        }
        out.references += drop_to(&mut self.references, budget.reference_tokens);
        out.chosen += drop_to(&mut self.chosen, budget.chosen_tokens);
        out.chosen += drop_to(&mut self.comments, budget.chosen_tokens);
    }

    /// Drops one piece, the least important first: rounds, background, earlier results, search results, references,
    /// comments, choices.
    /// Returns `false` if nothing is left to drop.
    fn leave_one_out(&mut self, out: &mut LeftOut) -> bool {
        if drop_first(&mut self.rounds) {
            out.rounds += 1;
            return true;
        }
        if self.leave_background_out(out) || self.leave_earlier_out(out) {
            return true;
        }
        // The first result of a search is its best one.
        if self.results.pop().is_some() {
            out.results += 1;
            return true;
        }
        if drop_first(&mut self.references) {
            out.references += 1;
            return true;
        }
        if drop_first(&mut self.comments) || drop_first(&mut self.chosen) {
            out.chosen += 1;
            return true;
        }
        false
    }

    /// Estimates the tokens of the account and of the product.
    fn account_and_product(&self) -> u64 {
        weigh_all(&self.background) + weigh_all(&self.product) + weigh_all(&self.wording)
    }

    /// Drops one piece of the background. A short account and a short product stay, and so do the words that the
    /// product must say or must not say.
    fn leave_background_out(&mut self, out: &mut LeftOut) -> bool {
        let left = drop_first(&mut self.previous)
            || self.context.take().is_some()
            || (weigh_all(&self.product) > SHORT && self.product.pop().is_some())
            || (weigh_all(&self.background) > SHORT && self.background.pop().is_some());
        out.background += u64::from(left);
        left
    }

    /// Drops one item of the oldest task.
    fn leave_earlier_out(&mut self, out: &mut LeftOut) -> bool {
        let Some(oldest) = self.earlier.first_mut() else {
            return false;
        };
        drop_first(&mut oldest.items);
        out.earlier += 1;
        if oldest.items.is_empty() {
            self.earlier.remove(0);
        }
        true
    }

    /// Estimates the tokens of all parts.
    pub(super) fn tokens(&self) -> u64 {
        let texts = [&self.query, &self.context, &self.task_context];
        let texts: u64 = texts
            .into_iter()
            .flatten()
            .map(|text| estimate_tokens(text) + PER_PIECE)
            .sum();
        texts
            + estimate_tokens(&self.input)
            + self.account_and_product()
            + weigh_all(&self.previous)
            + weigh_all(&self.chosen)
            + weigh_all(&self.comments)
            + weigh_all(&self.references)
            + weigh_all(&self.earlier)
            + weigh_all(&self.rounds)
            + weigh_all(&self.results)
    }
}

/// Counts the pieces that were left out.
#[derive(Debug, Default)]
struct LeftOut {
    rounds: u64,
    background: u64,
    earlier: u64,
    results: u64,
    references: u64,
    chosen: u64,
    cut: u64,
}

impl LeftOut {
    fn told(&self) -> Option<String> {
        let parts: Vec<String> = [
            (self.rounds, "of the session's rounds"),
            (self.background, "of the background"),
            (self.earlier, "of the earlier results"),
            (self.results, "of the search results"),
            (self.references, "of the references"),
            (self.chosen, "of the selections"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        let mut told = parts.join(", ");
        if self.cut > 0 {
            told += if parts.is_empty() { "" } else { ", " };
            told += &format!("the end of {}", counted(self.cut, "long text"));
        }
        (!told.is_empty()).then(|| format!("left out of the prompt to keep its budget: {told}"))
    }
}

/// Estimates the tokens of a piece in a prompt.
trait Weigh {
    fn weigh(&self) -> u64;
}

impl Weigh for String {
    fn weigh(&self) -> u64 {
        estimate_tokens(self) + PER_PIECE
    }
}

impl Weigh for Named {
    fn weigh(&self) -> u64 {
        estimate_tokens(&self.value) + PER_PIECE
    }
}

impl Weigh for ItemText {
    fn weigh(&self) -> u64 {
        estimate_tokens(&self.text) + PER_PIECE
    }
}

impl Weigh for ChosenItem {
    fn weigh(&self) -> u64 {
        estimate_tokens(&self.text) + self.comment.as_deref().map_or(0, estimate_tokens) + PER_PIECE
    }
}

impl Weigh for Comment {
    fn weigh(&self) -> u64 {
        estimate_tokens(&self.comment) + PER_PIECE
    }
}

impl Weigh for SearchHit {
    fn weigh(&self) -> u64 {
        estimate_tokens(&self.text) + estimate_tokens(&self.title) + estimate_tokens(&self.url) + PER_PIECE
    }
}

impl Weigh for TaskPart {
    fn weigh(&self) -> u64 {
        weigh_all(&self.items) + PER_PIECE
    }
}

impl Weigh for RoundPart {
    fn weigh(&self) -> u64 {
        weigh_all(&self.items) + self.query.as_deref().map_or(0, estimate_tokens) + PER_PIECE
    }
}

fn weigh_all<T: Weigh>(list: &[T]) -> u64 {
    list.iter().map(Weigh::weigh).sum()
}

/// Drops pieces from the front until the others have at most `bound` tokens. Returns how many were dropped.
///
/// Each piece is weighed once, because one line may bring a million pieces.
fn drop_to<T: Weigh>(list: &mut Vec<T>, bound: u64) -> u64 {
    let mut total = weigh_all(list);
    let mut count = 0;
    while let Some(first) = list.get(count).filter(|_| total > bound) {
        total -= first.weigh();
        count += 1;
    }
    list.drain(..count);
    count as u64
}

/// Cuts a text of more than `tokens` tokens to well below that. Returns whether it was cut.
fn cut_to(text: &mut String, tokens: u64) -> bool {
    if estimate_tokens(text) + PER_PIECE <= tokens {
        return false;
    }
    // No character takes more than 1.1 tokens.
    let chars = usize::try_from(tokens.saturating_sub(2 * PER_PIECE) * 9 / 10).unwrap_or(usize::MAX);
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
    true
}

fn drop_first<T>(list: &mut Vec<T>) -> bool {
    if list.is_empty() {
        return false;
    }
    list.remove(0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: ContextBudget = ContextBudget {
        rounds: 10,
        round_tokens: 4000,
        background_tokens: 4000,
        earlier_tokens: 4000,
        reference_tokens: 4000,
        chosen_tokens: 4000,
        search_tokens: 4000,
    };

    fn piece(id: &str, chars: usize) -> ItemText {
        ItemText {
            id: id.to_owned(),
            text: "字".repeat(chars),
            is_sourced: false,
        }
    }

    fn full() -> PromptParts {
        PromptParts {
            input: "任务".to_owned(),
            query: Some("需求".to_owned()),
            previous: vec!["旧文".repeat(50); 2],
            chosen: vec![ChosenItem {
                id: "insight1".to_owned(),
                text: "选中".repeat(50),
                comment: None,
            }],
            references: vec![piece("profile1", 100)],
            earlier: ["task001", "task002"]
                .map(|task| TaskPart {
                    task_id: task.to_owned(),
                    action: "insight".to_owned(),
                    items: vec![piece("insight2", 100), piece("insight3", 100)],
                })
                .into(),
            rounds: (0..3)
                .map(|round| RoundPart {
                    query: Some(format!("第{round}轮")),
                    items: vec![piece("xhs_post1", 100)],
                })
                .collect(),
            ..PromptParts::default()
        }
    }

    #[test]
    fn what_fits_stays_whole() {
        let mut parts = full();
        let room = parts.tokens();
        assert_eq!(parts.fit(&WIDE, room), Ok(None));
        assert_eq!(parts, full());
    }

    #[test]
    fn the_oldest_goes_first_and_it_is_told() {
        let mut parts = full();
        let narrow = ContextBudget {
            round_tokens: 300,
            ..WIDE
        };
        let told = parts.fit(&narrow, 100_000).unwrap().unwrap();
        assert_eq!(
            told,
            "left out of the prompt to keep its budget: 1 of the session's rounds"
        );
        let left: Vec<_> = parts
            .rounds
            .iter()
            .map(|round| round.query.clone().unwrap())
            .collect();
        assert_eq!(left, ["第1轮", "第2轮"]);
        assert_eq!(parts.earlier, full().earlier);
    }

    /// A quadratic search for the cut needs hours for this list; a linear one needs milliseconds.
    #[test]
    fn of_very_many_pieces_the_last_ones_stay() {
        let many = 100_000;
        let mut parts = PromptParts {
            previous: vec!["旧".to_owned(); many],
            chosen: vec![full().chosen[0].clone(); many],
            ..PromptParts::default()
        };
        let told = parts.fit(&WIDE, 100_000).unwrap().unwrap();
        let left = [parts.previous.len(), parts.chosen.len()];
        assert!(left.iter().all(|left| (10..1000).contains(left)), "{left:?}");
        assert_eq!(
            told,
            format!(
                "left out of the prompt to keep its budget: {} of the background, {} of the selections",
                many - left[0],
                many - left[1]
            )
        );
    }

    #[test]
    fn a_small_window_takes_history_before_what_was_chosen() {
        let mut parts = full();
        let without_history = {
            let mut parts = full();
            (parts.rounds, parts.previous) = (Vec::new(), Vec::new());
            parts.tokens()
        };
        let told = parts.fit(&WIDE, without_history).unwrap().unwrap();
        assert_eq!(
            told,
            "left out of the prompt to keep its budget: 3 of the session's rounds, 2 of the background"
        );
        assert_eq!(
            (parts.earlier.len(), parts.references.len(), parts.chosen.len()),
            (2, 1, 1)
        );
        parts.fit(&WIDE, 60).unwrap();
        assert!(parts.earlier.is_empty() && parts.references.is_empty() && parts.chosen.is_empty());
        assert_eq!(parts.query.as_deref(), Some("需求"));
        assert!(parts.fit(&WIDE, 1).is_err());
    }

    #[test]
    fn a_long_product_loses_its_last_facts_and_none_of_its_words() {
        let named = |chars: usize| Named {
            name: "n".to_owned(),
            key: "n".to_owned(),
            value: "字".repeat(chars),
        };
        let mut parts = PromptParts {
            product: vec![named(200); 40],
            wording: vec![named(60); 60],
            ..PromptParts::default()
        };
        let told = parts.fit(&WIDE, 100_000).unwrap().unwrap();
        assert!(told.ends_with("of the background"), "{told}");
        assert!((1..5).contains(&parts.product.len()), "{}", parts.product.len());
        assert_eq!(parts.wording.len(), 60);
    }

    #[test]
    fn a_text_longer_than_its_part_is_cut_and_not_lost() {
        let mut parts = PromptParts {
            references: vec![piece("insight1", 10_000)],
            ..PromptParts::default()
        };
        let told = parts.fit(&WIDE, 100_000).unwrap().unwrap();
        assert_eq!(
            told,
            "left out of the prompt to keep its budget: the end of 1 long text"
        );
        assert!(parts.references[0].text.ends_with('…') && weigh_all(&parts.references) <= 4000);
    }
}
