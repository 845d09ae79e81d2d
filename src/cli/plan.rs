//! `nova3 plan`.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgMatches;
use serde_json::json;

use super::args::{Global, PlanArgs};
use super::exit::{Exit, decided};
use super::{
    actions, check, input, models, own_work, print, prompts, redo, rehearsal, route_prices, run, setup,
    stores, terminal,
};
use crate::agent::Planner;
use crate::config::{Config, Flags, StoreAddress, process_env};
use crate::domain::ids::SessionId;
use crate::domain::printable::{counted, printable};
use crate::domain::request::{Digest, Identity, Interaction, Request, Work};
use crate::domain::state::TaskStatus;
use crate::engine::{Input, InputPart, Job, Services, Signals, check_columns, read_input, run_batch};
use crate::observe::tell;
use crate::observe::{EventBus, RunEnding, Style};
use crate::report;
use crate::store::{Changes, KnownQueue, NewAction, NewLine, NewRequest, Order, PendingTask, Planned, RunId};

pub(super) fn main(
    args: &PlanArgs,
    global: &Global,
    matches: &ArgMatches,
    mut signals: Signals,
) -> Result<Exit> {
    let flags = Flags {
        store: setup::given_store(matches, args.store.as_ref()),
        ..setup::flags(global, &args.model, matches)
    };
    let flags = input::with_flags(flags, &args.table, matches);
    let runtime = super::runtime()?;
    if args.stale {
        return runtime.block_on(redo::plan_stale(args, &flags));
    }
    let mut asked = Exit::Good;
    if args.call {
        asked = runtime.block_on(call(
            args,
            global,
            &flags,
            actions::action("plan", matches),
            &mut signals,
        ))?;
        signals.give_back();
        if matches!(asked, Exit::Signal(_)) {
            return Ok(asked);
        }
    }
    let mut config = Config::load_without_keys(&flags, &process_env)?;
    if args.mock && flags.store.is_none() {
        config.store = StoreAddress::File(setup::MOCK_STORE.into());
    }
    let shown = show(args, &config, &runtime)?;
    Ok(match (asked, shown) {
        // A bad line also counts as failed; bad input is the more precise exit code.
        (Exit::Good, shown) | (Exit::Failed, shown @ Exit::BadInput) => shown,
        (asked, _) => asked,
    })
}

/// Makes and stores the missing plans. Runs no other task.
async fn call(
    args: &PlanArgs,
    global: &Global,
    flags: &Flags,
    action: NewAction,
    signals: &mut Signals,
) -> Result<Exit> {
    let source = setup::input(&args.input)?;
    source.probe()?;
    // Standard input is read only once: the plans could not be shown, and no later run would find them.
    if source == Input::Stdin {
        let message = "`plan --call` reads its input twice (give a file instead of standard input)";
        return Err(decided(Exit::Usage, message));
    }
    let (mock, config) = rehearsal::settings(args.mock, flags).await?;
    let work = own_work::load(&args.ask, args.tasks.as_deref(), &config.agents)?;
    let agents = Arc::clone(&work.agents);
    let planner = setup::planner(&work, setup::names(&config), None)?;
    let form = input::form(&args.table, &config.input, &work, args.lenient)?;
    check_columns(&source, &form, &planner)?;
    models::of_input(&config, &agents, &planner, &source, &form)?;
    route_prices::require_prices(&config)?;
    let providers = setup::providers(&config, &agents, mock.as_ref())?;
    let (name, named) = run::run_name(args.name.as_deref(), &source)?;
    let job = Job {
        name,
        named,
        rehearsal: args.mock,
        input: source,
        form,
        changes: Changes::Replace,
        outputs: Vec::new(),
        order: Order::Completion,
        retry: None,
        concurrency: config.concurrency,
        max_queues: config.max_queues,
        memory_limit: config.memory_limit,
        conditions: config.conditions,
        grace: config.grace,
        lease: config.lease,
        leaves_to_others: false,
        host: setup::host(),
        action,
        plan_only: true,
        recipe: setup::recipe(&agents, &config),
        terms: setup::terms(&agents, &config, &providers, None, work.tasks.as_ref()),
        accept_drift: true,
    };
    let opened = stores::to_work(&config.store, config.wait_lock, global).await?;
    let client = opened.client(&config).await?;
    let searcher = opened.searcher(&config, providers).await?;
    let screen = terminal::screen(global);
    let mut services = Services {
        store: opened.store,
        client: Arc::new(client),
        agents,
        planner,
        searcher,
        budget: config.context,
        // `plan` prints the queues. A run's closing line would count requests that have not started.
        events: EventBus::start(Style::Silent.sinks(&screen, None))
            .context("failed to start the sinks of events")?,
        screen,
        // No request ends here.
        traces: None,
    };
    let report = run_batch(&mut services, &job, signals).await;
    services.events.close();
    if let Some(mock) = mock {
        mock.stop().await;
    }
    let report = report?;
    // Every other ending has already printed its reason.
    if !global.quiet && report.ending == RunEnding::Finished {
        tell(&format!(
            "{}, ${:.4}; the plans are stored, and `nova3 run` uses them",
            counted(report.calls_now, "call"),
            report.cost_now.usd()
        ));
    }
    Ok(match report.ending {
        RunEnding::Finished if report.counts.bad() > 0 => Exit::Failed,
        _ => run::exit_of(&report.ending),
    })
}

/// The store and the run in it.
pub(super) struct KnownRequests {
    pub(super) store: std::sync::Arc<dyn crate::store::Store>,
    run: Option<RunId>,
}

/// A request, and its queue as far as it is known.
pub(super) struct PlannedRequest<'l> {
    pub(super) line: u64,
    /// `line` or `row`.
    pub(super) word: &'static str,
    pub(super) request: &'l Request,
    pub(super) plan: &'l [Planned],
    /// The flag that the tasks come from.
    pub(super) flag: Option<&'static str>,
    pub(super) stored: Option<KnownQueue>,
}

impl PlannedRequest<'_> {
    /// The stored tasks, if a run would keep them. A run takes the tasks of the line or of `--tasks` instead when no stored
    /// task has started.
    fn kept(&self) -> Option<&KnownQueue> {
        let begun = |queue: &KnownQueue| {
            let mut tasks = queue.tasks.iter();
            tasks.any(|(_, status)| !status.is_waiting())
        };
        let stored = self.stored.as_ref().filter(|queue| queue.planned);
        stored.filter(|queue| self.plan.is_empty() || begun(queue))
    }

    /// The tasks, if they are known.
    pub(super) fn tasks(&self) -> Option<Vec<(PendingTask, TaskStatus)>> {
        if let Some(queue) = self.kept() {
            return Some(queue.tasks.clone());
        }
        let tasks = (1..).zip(self.plan).map(|(number, planned)| {
            let task = PendingTask {
                task_id: format!("task{number:03}"),
                action: planned.action.clone(),
                description: planned.description.clone(),
                input: planned.input.clone(),
            };
            (task, TaskStatus::Pending)
        });
        (!self.plan.is_empty()).then(|| tasks.collect())
    }

    /// Whether the stored tasks are kept although the line or `--tasks` gives others.
    fn keeps_others(&self) -> bool {
        self.kept().is_some_and(|queue| {
            let stored = queue.tasks.iter().map(|(task, _)| task.action.as_str());
            !stored.eq(self.plan.iter().map(|task| task.action.as_str()))
        })
    }

    fn is_called(&self, name: &str) -> bool {
        self.request.custom_id.as_deref() == Some(name) || self.line.to_string() == name
    }

    fn origin(&self) -> &'static str {
        match (&self.stored, &self.request.work) {
            _ if self.keeps_others() => "planned",
            (Some(queue), _) if queue.state == "failed" && self.plan.is_empty() => {
                "planning failed (`nova3 retry` puts it back)"
            }
            (_, Work::Completion(_)) => "an OpenAI Batch line",
            (_, Work::Brief(brief)) if brief.tasks.is_some() => "its line",
            (_, Work::Brief(_)) if !self.plan.is_empty() => self.flag.unwrap_or("quick_suggestion"),
            (_, Work::Brief(brief)) => match brief.interaction {
                Interaction::Continue | Interaction::Select => "pending tasks of its session, else a plan",
                _ => "not planned yet",
            },
        }
    }

    fn text(&self) -> String {
        let name = self.request.custom_id.as_deref().unwrap_or("(no custom_id)");
        let session = self
            .request
            .session
            .as_ref()
            .map_or_else(String::new, |session| format!(" · session {}", session.as_str()));
        let state = self
            .stored
            .as_ref()
            // The origin already says that planning failed.
            .filter(|queue| queue.planned || queue.state != "failed")
            .map_or_else(String::new, |queue| format!(" · {}", queue.state));
        let tasks = self
            .tasks()
            .map_or_else(String::new, |tasks| report::tasks_text(&tasks));
        let heading = format!(
            "{} {} · {}{session} · {}{state}",
            self.word,
            self.line,
            printable(name),
            self.origin()
        );
        format!("{heading}\n{tasks}")
    }

    fn json(&self) -> String {
        let tasks = self.tasks();
        let line = json!({
            "line": self.line,
            "custom_id": self.request.custom_id,
            "user_id": self.request.user.as_str(),
            "session_id": self.request.session.as_ref().map(SessionId::as_str),
            "origin": self.origin(),
            "planned": tasks.is_some(),
            "tasks": tasks.map(|tasks| report::tasks_json(&tasks)),
        });
        format!("{line}\n")
    }
}

fn show(args: &PlanArgs, config: &Config, runtime: &tokio::runtime::Runtime) -> Result<Exit> {
    let source = setup::input(&args.input)?;
    let work = own_work::load(&args.ask, args.tasks.as_deref(), &config.agents)?;
    let agents = &*work.agents;
    let planner = setup::planner(&work, setup::names(config), None)?;
    let form = input::form(&args.table, &config.input, &work, args.lenient)?;
    let word = form.row_word(&source);
    let known = known(args, config, &source, runtime)?;
    let mut seen: HashMap<Digest, u64> = HashMap::new();
    let (mut shown, mut bad) = (0_u64, 0_u64);
    let mut failed: Option<anyhow::Error> = None;
    read_input(&source, &form, &planner, |read| {
        let InputPart::Lines(lines) = read else {
            return true;
        };
        for line in &lines {
            let entry = match entry(
                line,
                word,
                (&planner, work.flag),
                known.as_ref(),
                &mut seen,
                runtime,
            ) {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    bad += 1;
                    continue;
                }
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            };
            let text = match &args.show_prompt {
                Some(name) if !entry.is_called(name) => continue,
                Some(_) => runtime.block_on(prompts::text(&entry, known.as_ref(), agents, config)),
                None if args.json => Ok(entry.json()),
                None => Ok(entry.text()),
            };
            shown += 1;
            match text.and_then(|text| print(text.as_bytes())) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            }
        }
        true
    })?;
    match failed {
        Some(error) => Err(error),
        None if shown == 0 && args.show_prompt.is_some() => {
            let name = args.show_prompt.as_deref().unwrap_or_default();
            Err(decided(
                Exit::Nothing,
                format!("no request has the `custom_id` or line number `{name}`"),
            ))
        }
        None if bad > 0 => Ok(Exit::BadInput),
        None if shown == 0 => Ok(Exit::Nothing),
        None => Ok(Exit::Good),
    }
}

/// The store and its run, if the store exists. `plan` never creates a store.
fn known(
    args: &PlanArgs,
    config: &Config,
    input: &Input,
    runtime: &tokio::runtime::Runtime,
) -> Result<Option<KnownRequests>> {
    let Some(store) = runtime.block_on(stores::if_there(&config.store))? else {
        return Ok(None);
    };
    let (name, _) = run::run_name(args.name.as_deref(), input)?;
    let run = runtime.block_on(store.find_run(Some(&name)))?.map(|run| run.id);
    Ok(Some(KnownRequests { store, run }))
}

/// The request of a line and its stored queue. A bad line is printed, and gives `None`.
fn entry<'l>(
    line: &'l NewLine,
    word: &'static str,
    (planner, flag): (&Planner, &'static str),
    known: Option<&KnownRequests>,
    seen: &mut HashMap<Digest, u64>,
    runtime: &tokio::runtime::Runtime,
) -> Result<Option<PlannedRequest<'l>>> {
    let (request, identity, content, plan) = match &line.content {
        NewRequest::Good {
            request,
            identity,
            content,
            plan,
            ..
        } => (request, identity, content, plan),
        NewRequest::Bad { failure, .. } => {
            tell(&check::named(word, line.line, &failure.message));
            return Ok(None);
        }
    };
    let occurrence = match identity {
        Identity::Custom(_) => 1,
        Identity::Content(digest) => {
            let count = seen.entry(*digest).or_default();
            *count += 1;
            *count
        }
    };
    let stored = match known.and_then(|known| Some((known, known.run?))) {
        Some((known, run)) => runtime.block_on(known.store.planned(run, identity, occurrence, *content))?,
        None => None,
    };
    Ok(Some(PlannedRequest {
        line: line.line,
        word,
        request,
        plan,
        flag: Some(flag).filter(|_| planner.gives_tasks() && !plan.is_empty()),
        stored,
    }))
}
