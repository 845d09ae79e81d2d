//! `nova3 check --estimate` and `nova3 run --dry-run`.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;
use tokio::runtime::Runtime;

use super::args::{Global, RunArgs};
use super::check::{CheckCounts, check_each};
use super::exit::{Exit, decided};
use super::plan::PlannedRequest;
use super::prompts::stored_material;
use super::{input, models, own_work, print, rehearsal, route_prices, run, setup, stores};
use crate::agent::{Agents, Planner, planning_input};
use crate::config::{Config, process_env};
use crate::domain::request::{Identity, Stops, Work};
use crate::domain::state::TaskStatus;
use crate::domain::usage::Cost;
use crate::engine::{Input, InputForm, check_columns};
use crate::limit::{InProcess, Limiter, Limits};
use crate::llm::{Client, TokenCounter};
use crate::report::{
    Estimate, EstimateReport, Estimator, History, RequestToEstimate, SessionRounds, TaskToEstimate,
    TimeEstimate, estimate_json, estimate_text,
};
use crate::search::{MemoryCache, Provider, Providers, Query, Searcher, has_stored, route_name};
use crate::store::sqlite::Identities;
use crate::store::{KnownQueue, Material, NewLine, NewRequest, Run, Store};

/// The calls of the ledger that the lengths of answers are taken from.
const CALLS: usize = 2000;

/// The most queries whose repetition is recognised.
const QUERIES: usize = 200_000;

/// An input to estimate.
pub(super) struct EstimateJob<'a> {
    pub(super) config: &'a Config,
    pub(super) agents: &'a Arc<Agents>,
    pub(super) providers: Providers,
    pub(super) planner: &'a Arc<Planner>,
    pub(super) source: &'a Input,
    pub(super) form: &'a InputForm,
    /// The name of the run, if it was given.
    pub(super) run: Option<&'a str>,
    /// Whether failed requests are run again.
    pub(super) retry_failed: bool,
    pub(super) json: bool,
}

/// `run --dry-run`: the same checks as a run, then the estimate.
pub(super) fn dry_run(args: &RunArgs, global: &Global, matches: &ArgMatches) -> Result<Exit> {
    let flags = input::with_flags(setup::run_flags(global, args, matches), &args.table, matches);
    let source = setup::input(&args.input)?;
    source.probe()?;
    let config = if args.mock {
        rehearsal::offline_settings(&flags, rehearsal::NOWHERE)?
    } else {
        Config::load(&flags, &process_env)?
    };
    let work = own_work::load(&args.ask, args.tasks.as_deref(), &config.agents)?;
    let agents = Arc::clone(&work.agents);
    let providers = if args.mock {
        Providers::rehearsal(rehearsal::NOWHERE)
            .map_err(|error| decided(Exit::Internal, error.to_string()))?
    } else {
        setup::providers(&config, &agents, None)?
    };
    route_prices::require_prices(&config)?;
    let routes = setup::names(&config);
    let planner = setup::planner(&work, routes, args.until.as_deref())?;
    let form = input::form(&args.table, &config.input, &work, args.lenient)?;
    check_columns(&source, &form, &planner)?;
    models::of_input(&config, &agents, &planner, &source, &form)?;
    let job = EstimateJob {
        config: &config,
        agents: &agents,
        providers,
        planner: &planner,
        source: &source,
        form: &form,
        run: args.name.as_deref(),
        retry_failed: args.retry_failed,
        json: false,
    };
    job.print().map(CheckCounts::exit)
}

impl EstimateJob<'_> {
    /// Reads the input, and prints the counts of its lines and the estimate.
    pub(super) fn print(self) -> Result<CheckCounts> {
        let runtime = super::runtime()?;
        let store = runtime.block_on(stores::if_there(&self.config.store))?;
        let run = self.known_run(store.as_deref(), &runtime)?;
        let calls = match &store {
            Some(store) => runtime.block_on(store.recent_calls(CALLS))?,
            None => Vec::new(),
        };
        let limits = self.limits();
        let client = Client::new(self.config).context("failed to set up the client")?;
        let searcher = Searcher::new(
            self.providers,
            self.config.search.clone(),
            Arc::new(MemoryCache::new(0)),
            &limiter,
        );
        let (history, counters) = (History::of(&calls), counters(self.config)?);
        let estimator = Estimator {
            agents: self.agents,
            client: &client,
            searcher: &searcher,
            budget: &self.config.context,
            history: &history,
            counters: &counters,
            retries: self.config.retry.retries,
            is_capped: self.config.conditions.max_cost.is_some(),
        };
        let mut sums = InputSums {
            estimator,
            known: KnownRun {
                store: store.as_deref(),
                run: run.as_ref(),
                runtime: &runtime,
                seen: Identities::new()?,
                asked: HashSet::new(),
            },
            rounds: SessionRounds::new(self.config.context.rounds),
            word: self.form.row_word(self.source),
            retry_failed: self.retry_failed,
            estimate: Estimate::default(),
            finished: 0,
            refused: 0,
        };
        let found = check_each(self.source, self.form, self.planner, &mut |line| sums.add(line))?;
        let cap = sums.known.money_left(self.config.conditions.max_cost)?;
        let limits_of = |route: &str| limits.get(route).copied().unwrap_or_default();
        let report = EstimateReport {
            requests: found.good,
            finished: sums.finished,
            refused: sums.refused,
            time: TimeEstimate::of(&sums.estimate, &limits_of, self.config.concurrency, cap),
            estimate: sums.estimate,
            retries: self.config.retry.retries,
            cap,
            counted: counters.keys().map(|name| format!("`{name}`")).collect(),
            prices: route_prices::sources(&self.config.routes),
        };
        if self.json {
            let mut json = estimate_json(&report);
            json["bad"] = found.bad.into();
            print(format!("{json}\n").as_bytes())?;
        } else {
            let text = found.text(self.source, self.form) + &estimate_text(&report);
            print(text.as_bytes())?;
        }
        Ok(found)
    }

    /// The run of the input, if the store holds it. Standard input without a name is a new run each time.
    fn known_run(&self, store: Option<&dyn Store>, runtime: &Runtime) -> Result<Option<Run>> {
        let Some(store) = store else { return Ok(None) };
        if *self.source == Input::Stdin && self.run.is_none() {
            return Ok(None);
        }
        let (name, _) = run::run_name(self.run, self.source)?;
        Ok(runtime.block_on(store.find_run(Some(&name)))?)
    }

    /// The limits of routes and of search providers.
    fn limits(&self) -> HashMap<String, Limits> {
        let routes = self
            .config
            .routes
            .iter()
            .map(|route| (route.name.clone(), route.limits()));
        let providers = self.providers.all().iter();
        let providers = providers.map(|provider| (route_name(&provider.name), provider.limits()));
        routes.chain(providers).collect()
    }
}

fn limiter(provider: &Provider) -> Arc<dyn Limiter> {
    Arc::new(InProcess::new(provider.limits()))
}

/// The vocabularies that routes name.
fn counters(config: &Config) -> Result<HashMap<String, TokenCounter>> {
    let mut counters = HashMap::new();
    for route in &config.routes {
        if let Some(path) = &route.tokenizer {
            let counter = TokenCounter::load(path)
                .map_err(|error| decided(Exit::Usage, format!("route `{}`: {error}", route.name)))?;
            counters.insert(route.name.clone(), counter);
        }
    }
    Ok(counters)
}

/// The estimate of the lines so far.
struct InputSums<'a> {
    estimator: Estimator<'a>,
    known: KnownRun<'a>,
    rounds: SessionRounds,
    word: &'static str,
    retry_failed: bool,
    estimate: Estimate,
    finished: u64,
    refused: u64,
}

impl InputSums<'_> {
    /// Adds a good line.
    fn add(&mut self, line: &NewLine) -> Result<()> {
        let NewRequest::Good {
            request,
            identity,
            content,
            plan,
            stops,
            ..
        } = &line.content
        else {
            return Ok(());
        };
        let entry = PlannedRequest {
            line: line.line,
            word: self.word,
            request,
            plan,
            flag: None,
            stored: self.known.queue(identity, *content)?,
        };
        let is_finished = |queue: &KnownQueue| is_finished(queue, stops, self.retry_failed);
        if entry.stored.as_ref().is_some_and(is_finished) {
            self.finished += 1;
            return Ok(());
        }
        let rounds = self.estimator.budget.rounds;
        let tasks = self.known.tasks(&entry, rounds, self.retry_failed)?;
        let of = RequestToEstimate {
            request,
            tasks: tasks.as_deref(),
            planning: &self.known.planning(&entry, rounds)?,
            stops,
            rounds: self.rounds.before(request),
        };
        let known = &mut self.known;
        let estimate = self.estimator.request(of, &mut |query| known.is_answered(query));
        self.refused += u64::from(estimate.refused.is_some());
        self.rounds.add(request, estimate.result_tokens);
        self.estimate.add(&estimate);
        self.estimate.serial_ms = self.estimate.serial_ms.max(estimate.serial_ms);
        Ok(())
    }
}

/// Whether a run makes no call for a stored request.
fn is_finished(queue: &KnownQueue, stops: &Stops, retry_failed: bool) -> bool {
    match queue.state.as_str() {
        "done" | "continued" => true,
        "failed" => !retry_failed,
        "paused" => !stops.is_none(),
        _ => false,
    }
}

/// Whether a run makes no call for a stored task.
const fn is_done(status: TaskStatus, retry_failed: bool) -> bool {
    match status {
        TaskStatus::Completed => true,
        TaskStatus::Failed | TaskStatus::Skipped => !retry_failed,
        _ => false,
    }
}

/// The store, and the run of the input in it. Both are only read.
struct KnownRun<'a> {
    store: Option<&'a dyn Store>,
    run: Option<&'a Run>,
    runtime: &'a Runtime,
    /// Counts equal lines, each of which is a request.
    seen: Identities,
    /// The digests of queries that the run will have asked.
    asked: HashSet<u64>,
}

impl KnownRun<'_> {
    fn queue(
        &mut self,
        identity: &Identity,
        content: crate::domain::request::Digest,
    ) -> Result<Option<KnownQueue>> {
        let (Some(store), Some(run)) = (self.store, self.run) else {
            return Ok(None);
        };
        let occurrence = match identity {
            Identity::Custom(_) => 1,
            Identity::Content(digest) => self.seen.count(digest.as_bytes())?,
        };
        let planned = store.planned(run.id, identity, occurrence, content);
        Ok(self.runtime.block_on(planned)?)
    }

    /// The tasks of a request with their context; `None` if they are not planned yet.
    fn tasks(
        &self,
        entry: &PlannedRequest<'_>,
        rounds: usize,
        retry_failed: bool,
    ) -> Result<Option<Vec<TaskToEstimate>>> {
        let Some(tasks) = entry.tasks() else {
            return Ok(None);
        };
        let known = entry.stored.as_ref();
        let is_alone = tasks.len() == 1;
        let mut found = Vec::with_capacity(tasks.len());
        for (index, (task, status)) in tasks.into_iter().enumerate() {
            let is_done = is_done(status, retry_failed);
            let mut one = TaskToEstimate {
                action: task.action,
                input: task.input,
                is_done,
                material: Material::default(),
                search: None,
            };
            if let Some(store) = self.store.filter(|_| !is_done) {
                one.material = self.material(store, entry, &one.input, (index, rounds), is_alone)?;
                if let Some(queue) = known {
                    let search = store.task_search(queue.queue_id, index);
                    one.search = self.runtime.block_on(search)?.and_then(Result::ok);
                }
            }
            found.push(one);
        }
        Ok(Some(found))
    }

    /// The context of the planning of a request.
    fn planning(&self, entry: &PlannedRequest<'_>, rounds: usize) -> Result<Material> {
        match (self.store, &entry.request.work) {
            (Some(store), Work::Brief(brief)) if entry.tasks().is_none() => {
                self.material(store, entry, &planning_input(brief), (0, rounds), true)
            }
            _ => Ok(Material::default()),
        }
    }

    fn material(
        &self,
        store: &dyn Store,
        entry: &PlannedRequest<'_>,
        input: &str,
        (index, rounds): (usize, usize),
        is_alone: bool,
    ) -> Result<Material> {
        let Work::Brief(brief) = &entry.request.work else {
            return Ok(Material::default());
        };
        // The store knows nothing of a new request without a session.
        let is_new = entry.request.session.is_none() && (is_alone || entry.stored.is_none());
        if is_new {
            return Ok(Material::default());
        }
        let stored = stored_material(store, entry, brief, input, index, rounds);
        self.runtime.block_on(stored)
    }

    /// Whether a query is answered by the cache, or by an earlier query of the input.
    fn is_answered(&mut self, query: &Query) -> bool {
        let mut hasher = DefaultHasher::new();
        query.key().as_str().hash(&mut hasher);
        let is_new = self.asked.len() >= QUERIES || self.asked.insert(hasher.finish());
        if !is_new {
            return true;
        }
        let stored = self.store.map(|store| has_stored(store, query));
        stored.is_some_and(|stored| self.runtime.block_on(stored).unwrap_or(false))
    }

    /// Returns the rest of the cost cap.
    fn money_left(&self, cap: Option<Cost>) -> Result<Option<Cost>> {
        let Some(cap) = cap else { return Ok(None) };
        let (Some(store), Some(run)) = (self.store, self.run) else {
            return Ok(Some(cap));
        };
        let spent = self.runtime.block_on(store.summary(run.id))?;
        let spent = spent.cost.plus(spent.uncertain);
        Ok(Some(Cost(cap.0.saturating_sub(spent.0))))
    }
}
