//! The search of a task: the call that writes its queries, and the searches of its providers.

use super::sums::{CallSums, Estimate, number};
use super::task::{Estimator, LIKELY_SHARE, MaterialAhead};
use crate::agent::{Agent, MOST_QUERIES, TaskInput, template_queries};
use crate::domain::failure::Failure;
use crate::llm::{Chain, likely_tokens};
use crate::search::{CACHED, DEFAULT, Query, route_name};

/// Tokens of the marks and the label around one item of default material.
const MARKS: u64 = 30;

/// The text of a query that a model will write.
const UNWRITTEN: &str = "query";

/// Whether a search has a fresh answer already, so that it costs nothing. A query that was asked for before in the same
/// estimate has one.
pub(super) type IsAnswered<'f> = dyn FnMut(&Query) -> bool + 'f;

impl Estimator<'_> {
    /// Estimates the search of a task. Also returns the likely tokens of its results in the prompt.
    pub(super) fn search(
        &self,
        agent: &Agent,
        chain: &Chain,
        task: TaskInput<'_>,
        ahead: MaterialAhead,
        is_answered: &mut IsAnswered<'_>,
    ) -> Result<(Estimate, f64), Failure> {
        let mut sum = Estimate::default();
        let Some(spec) = &agent.search else {
            return Ok((sum, 0.0));
        };
        if spec.ask {
            sum = self.task(self.agents.query_writer(), chain, task, ahead)?;
            sum.result_tokens = 0.0;
        }
        let written = if spec.ask {
            vec![UNWRITTEN.to_owned(); MOST_QUERIES]
        } else {
            template_queries(agent, task).unwrap_or_default()
        };
        let limit = spec.results.unwrap_or(self.searcher.results());
        let pages = self.searcher.pages_of(spec.read);
        let links = self.searcher.chain_of(spec.providers.as_deref());
        let has_cache = links.iter().any(|link| link == CACHED);
        let (mut is_looked_up, mut unasked) = (spec.ask, 0.0);
        for text in &written {
            let Some(query) = Query::new(text, limit).map(|query| query.with_pages(pages)) else {
                continue;
            };
            let Some((link, cost)) = self.searcher.likely(&query, links) else {
                unasked += self.default_tokens(&query, links);
                continue;
            };
            is_looked_up = true;
            if !spec.ask && has_cache && is_answered(&query) {
                continue;
            }
            let worst = self.searcher.worst(&query, links);
            let sums = CallSums {
                calls: 1.0,
                cost: number(cost.0),
                without_retries: worst,
                worst,
                ..CallSums::default()
            };
            sum.put(agent.action.as_str(), &route_name(link), &sums);
        }
        let bound = number(self.budget.search_tokens) * LIKELY_SHARE;
        let found = if is_looked_up {
            self.history.search_result(agent.action.as_str()).unwrap_or(bound)
        } else {
            unasked
        };
        Ok((sum, found.min(bound)))
    }

    /// The likely tokens of the default material, with which a chain without a usable provider answers.
    fn default_tokens(&self, query: &Query, links: &[String]) -> f64 {
        if !links.iter().any(|link| link == DEFAULT) {
            return 0.0;
        }
        let items = self.searcher.default_items(query);
        let tokens = items
            .iter()
            .map(|item| likely_tokens(&item.title) + likely_tokens(&item.text) + MARKS);
        number(tokens.sum())
    }
}
