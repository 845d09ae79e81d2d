//! A request that the supervisor plans: the call that plans, the plans to expect, and the most expensive plan.

use std::collections::HashMap;

use super::request::{RequestToEstimate, TaskToEstimate};
use super::searches::IsAnswered;
use super::sums::{CallSums, Estimate};
use super::task::{Estimator, MaterialAhead};
use crate::agent::{LaterMaterial, MOST_TASKS, TaskInput, planning_input};
use crate::domain::failure::Failure;
use crate::domain::request::Brief;
use crate::domain::usage::Cost;
use crate::search::Query;

impl Estimator<'_> {
    /// Estimates a request without a plan. The expectation is that of the supervisor's plans so far, else of the default
    /// plan. The highest cost is that of the longest plan, all of whose tasks are the most expensive one.
    pub(super) fn planned(
        &self,
        of: &RequestToEstimate<'_>,
        brief: &Brief,
        is_answered: &mut IsAnswered<'_>,
    ) -> Result<Estimate, Failure> {
        let supervisor = self.agents.supervisor();
        let chain = self.chain(of.request.model.as_deref(), Some(supervisor))?;
        let input = planning_input(brief);
        let task = TaskInput {
            brief,
            input: &input,
            metadata: of.request.metadata.as_deref(),
            material: of.planning,
            search: None,
            part: None,
        };
        let ahead = MaterialAhead {
            later: LaterMaterial {
                session: of.request.session.is_some(),
                ..LaterMaterial::default()
            },
            tokens: of.rounds,
        };
        let mut sum = self.task(supervisor, chain, task, ahead)?;
        sum.result_tokens = 0.0;
        let task = |action: &str| TaskToEstimate {
            action: action.to_owned(),
            input: input.clone(),
            is_done: false,
            material: of.planning.clone(),
            search: None,
        };
        let later = LaterMaterial {
            instruction: true,
            ..LaterMaterial::default()
        };
        // All plans of the request have the same searches.
        let mut answers = HashMap::new();
        let mut is_answered = |query: &Query| {
            let key = query.key().as_str().to_owned();
            *answers.entry(key).or_insert_with(|| is_answered(query))
        };
        for (plan, share) in self.plans() {
            let tasks: Vec<TaskToEstimate> = plan.iter().map(|action| task(action)).collect();
            sum.add_share(&self.tasks(of, brief, &tasks, later, &mut is_answered), share);
        }
        self.add_worst_plan(&mut sum, of, brief, &task);
        Ok(sum)
    }

    /// The plans to expect, each with its share.
    fn plans(&self) -> Vec<(Vec<String>, f64)> {
        let has_agents = |plan: &[String]| plan.iter().all(|action| self.agents.get(action).is_some());
        let known: Vec<_> = self
            .history
            .plans()
            .iter()
            .filter(|(plan, _)| has_agents(plan))
            .cloned()
            .collect();
        let all: f64 = known.iter().map(|(_, share)| share).sum();
        if known.is_empty() {
            let plan = self.agents.default_plan().iter();
            return vec![(plan.map(|action| action.as_str().to_owned()).collect(), 1.0)];
        }
        known
            .into_iter()
            .map(|(plan, share)| (plan, share / all))
            .collect()
    }

    /// Adds the highest cost of a plan: that of the most expensive agent for each task.
    fn add_worst_plan(
        &self,
        sum: &mut Estimate,
        of: &RequestToEstimate<'_>,
        brief: &Brief,
        task: &dyn Fn(&str) -> TaskToEstimate,
    ) {
        let later = LaterMaterial {
            earlier: true,
            session: true,
            search: false,
            instruction: true,
        };
        let count = if of.stops.each { 1 } else { MOST_TASKS as u64 };
        let mut dearest: Option<(&str, CallSums)> = None;
        for agent in self.agents.all() {
            let action = agent.action.as_str();
            let alone = self
                .tasks(of, brief, &[task(action)], later, &mut |_| false)
                .total();
            let is_dearer = dearest.is_none_or(|(_, known)| known.worst <= alone.worst);
            // Both costs and the mark are kept, also if they belong to different agents.
            let known = dearest.map_or_else(CallSums::default, |(_, known)| known);
            let both = CallSums {
                worst: alone.worst.max(known.worst),
                without_retries: alone.without_retries.max(known.without_retries),
                is_unbounded: alone.is_unbounded || known.is_unbounded,
                ..CallSums::default()
            };
            let name = dearest.map_or(action, |(name, _)| if is_dearer { action } else { name });
            dearest = Some((name, both));
        }
        let Some((action, mut highest)) = dearest else {
            return;
        };
        let times = |cost: Cost| Cost(cost.0.saturating_mul(count)).plus(Cost::ZERO);
        highest.worst = times(highest.worst);
        highest.without_retries = times(highest.without_retries);
        let agent = self.agents.get(action);
        let chain = self.chain(of.request.model.as_deref(), agent);
        if let Ok(chain) = chain {
            sum.put(action, &chain.first().settings.name, &highest);
        }
    }
}
