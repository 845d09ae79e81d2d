//! Settings, paths and services that several commands build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::{Global, ModelArgs, RunArgs};
use super::exit::{Exit, decided};
use super::metrics;
use super::own_work::OwnWork;
use crate::agent::{Agents, GivenTasks, Planner};
use crate::config::{AgentSettings, Config, Flags, Given, Source, process_env, resolved};
use crate::domain::ids::{SessionId, UserId, shortened};
use crate::domain::request::{Action, Digest};
use crate::engine::Input;
use crate::mock;
use crate::search::{Providers, route_name};
use crate::store::{ConfigFingerprint, Run, RunConstraints, Store, StoredRouteLimits};

/// The default store of rehearsals, so that they never mix with a real run.
pub(super) const MOCK_STORE: &str = "nova3-mock.db";

/// A value, and the place where clap found it.
pub(super) fn given<T: Clone>(
    matches: &ArgMatches,
    id: &str,
    flag: &'static str,
    env: &str,
    value: Option<&T>,
) -> Option<Given<T>> {
    let value = value?.clone();
    let source = match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => Source::Env(env.to_owned()),
        _ => Source::Flag(flag),
    };
    Some(Given { value, source })
}

/// `--store`, and the place where it was given.
pub(super) fn given_store(matches: &ArgMatches, store: Option<&PathBuf>) -> Option<Given<PathBuf>> {
    given(matches, "store", "--store", "NOVA3_STORE", store)
}

/// The settings that the command line gives.
pub(super) fn flags(global: &Global, args: &ModelArgs, matches: &ArgMatches) -> Flags {
    Flags {
        config: global.config.clone(),
        model: given(matches, "model", "--model", "NOVA3_MODEL", args.model.as_ref()),
        concurrency: given(
            matches,
            "concurrency",
            "--concurrency",
            "NOVA3_CONCURRENCY",
            args.concurrency.as_ref(),
        ),
        rpm: given(matches, "rpm", "--rpm", "NOVA3_RPM", args.rpm.as_ref()),
        tpm: given(matches, "tpm", "--tpm", "NOVA3_TPM", args.tpm.as_ref()),
        first_token: given(
            matches,
            "first_token_timeout",
            "--first-token-timeout",
            "NOVA3_FIRST_TOKEN_TIMEOUT",
            args.first_token_timeout.as_ref(),
        ),
        idle: given(
            matches,
            "idle_timeout",
            "--idle-timeout",
            "NOVA3_IDLE_TIMEOUT",
            args.idle_timeout.as_ref(),
        ),
        total: given(
            matches,
            "timeout",
            "--timeout",
            "NOVA3_TIMEOUT",
            args.timeout.as_ref(),
        ),
        ..Flags::default()
    }
}

/// The settings that the command line of `run` gives.
pub(super) fn run_flags(global: &Global, args: &RunArgs, matches: &ArgMatches) -> Flags {
    Flags {
        store: given_store(matches, args.store.as_ref()),
        grace: given(matches, "grace", "--grace", "NOVA3_GRACE", args.grace.as_ref()),
        wait_lock: given(
            matches,
            "wait_lock",
            "--wait-lock",
            "NOVA3_WAIT_LOCK",
            args.wait_lock.as_ref(),
        ),
        max_cost: given(
            matches,
            "max_cost",
            "--max-cost",
            "NOVA3_MAX_COST",
            args.stop.max_cost.as_ref(),
        ),
        max_failures: given(
            matches,
            "max_failures",
            "--max-failures",
            "NOVA3_MAX_FAILURES",
            args.stop.max_failures.as_ref(),
        ),
        on_task_failure: given(
            matches,
            "on_task_failure",
            "--on-task-failure",
            "NOVA3_ON_TASK_FAILURE",
            args.stop.on_task_failure.as_ref(),
        ),
        deadline: given(
            matches,
            "deadline",
            "--deadline",
            "NOVA3_DEADLINE",
            args.stop.deadline.as_ref(),
        ),
        give_up: given(
            matches,
            "give_up",
            "--give-up",
            "NOVA3_GIVE_UP",
            args.stop.give_up.as_ref(),
        ),
        limit: given(
            matches,
            "limit",
            "--limit",
            "NOVA3_LIMIT",
            args.stop.limit.as_ref(),
        ),
        memory_limit: given(
            matches,
            "memory_limit",
            "--memory-limit",
            "NOVA3_MEMORY_LIMIT",
            args.stop.memory_limit.as_ref(),
        ),
        ..metrics::with_flags(flags(global, &args.model, matches), &args.metrics, matches)
    }
}

/// A duration on the command line.
pub(super) fn duration(flag: &str, text: &str) -> Result<Duration> {
    let span: Option<jiff::SignedDuration> = text.trim().parse().ok();
    span.and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| {
            decided(
                Exit::Usage,
                format!("`{flag}` is `{text}`: expected a duration such as `30s` or `2m`"),
            )
        })
}

/// The input that a path means; `-` is standard input.
pub(super) fn input(path: &Path) -> Result<Input> {
    if path.as_os_str() == "-" {
        return Ok(Input::Stdin);
    }
    let absolute =
        std::path::absolute(path).with_context(|| format!("failed to resolve `{}`", path.display()))?;
    Ok(Input::File(absolute.canonicalize().unwrap_or(absolute)))
}

/// The path under which a result file is known: absolute, links resolved, so that a rewrite replaces the
/// file and not the link to it.
pub(super) fn result_path(path: &Path) -> Result<PathBuf> {
    resolved(path)
        .map_err(|error| decided(Exit::Output, format!("result file `{}`: {error}", path.display())))
}

/// The planner for the agents, their tasks, the routes and `--until`.
pub(super) fn planner(work: &OwnWork, routes: Vec<String>, until: Option<&str>) -> Result<Arc<Planner>> {
    let until = until.map(|name| action("--until", name)).transpose()?;
    let planner = Planner::new(&work.agents, routes, work.tasks.clone(), until)
        .map_err(|message| decided(Exit::Usage, message))?;
    Ok(Arc::new(planner))
}

fn action(flag: &str, name: &str) -> Result<Action> {
    Action::parse(name).ok_or_else(|| {
        decided(
            Exit::Usage,
            format!("`{flag}`: `{}` is no action", shortened(name, 60)),
        )
    })
}

/// The names of routes and chains that a line, an agent or a flag may use.
pub(super) fn names(config: &Config) -> Vec<String> {
    config.chains.iter().map(|chain| chain.name.clone()).collect()
}

/// The digests of all that shapes an answer beside its request: the prompts, and the models of the routes.
pub(super) fn recipe(agents: &Agents, config: &Config) -> ConfigFingerprint {
    let routes: Vec<String> = config
        .routes
        .iter()
        .map(|route| {
            let model = route.model.as_deref().unwrap_or_default();
            if route.body.is_empty() {
                return format!("{}={model}", route.name);
            }
            format!(
                "{}={model} {}",
                route.name,
                serde_json::Value::from(route.body.clone())
            )
        })
        .collect();
    let asked = config.chains.first().map(|chain| chain.routes.join(","));
    let models = format!("{}\n{}", asked.unwrap_or_default(), routes.join("\n"));
    ConfigFingerprint {
        prompts: agents.fingerprint(),
        models: Digest::of(models.as_bytes()).hex(),
    }
}

/// The settings that all workers of one run must share.
pub(super) fn terms(
    agents: &Agents,
    config: &Config,
    providers: &Providers,
    until: Option<&str>,
    tasks: Option<&GivenTasks>,
) -> RunConstraints {
    let limits = config.routes.iter().map(|route| {
        let limits = StoredRouteLimits {
            rpm: route.rpm,
            tpm: route.tpm,
        };
        (route.name.clone(), limits)
    });
    let limited = providers
        .all()
        .iter()
        .filter(|provider| is_used(config, agents, &provider.name));
    let of_searches = limited.filter_map(|provider| {
        let limits = StoredRouteLimits {
            rpm: Some(provider.rpm?),
            tpm: None,
        };
        Some((route_name(&provider.name), limits))
    });
    RunConstraints {
        agents: agents.fingerprint(),
        limits: limits.chain(of_searches).collect(),
        max_cost: config.conditions.max_cost,
        until: until.map(str::to_owned),
        tasks: tasks.map(GivenTasks::text),
        on_failure: config.on_failure,
    }
}

/// Whether a chain of the settings or of an agent names this provider.
fn is_used(config: &Config, agents: &Agents, provider: &str) -> bool {
    let of_agents = agents
        .all()
        .iter()
        .filter_map(|agent| agent.search.as_ref()?.providers.as_ref());
    let mut chains = of_agents.chain([&config.search.providers]);
    chains.any(|chain| chain.iter().any(|link| link == provider))
}

/// The `custom_id`s that a flag names. Each value counts as a whole, because an id may hold a comma, and each part between
/// commas counts too.
pub(super) fn ids(given: &[String]) -> Vec<String> {
    let parts = |value: &String| -> Vec<String> {
        let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
        std::iter::once(value.as_str())
            .chain(parts)
            .map(str::to_owned)
            .collect()
    };
    given.iter().flat_map(parts).collect()
}

/// The text that names this process to another one that finds the store in use.
pub(super) fn holder() -> String {
    format!("process {} since {:.0}", std::process::id(), crate::clock::now())
}

/// This host's name.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The most runs that an error names.
const NAMED_RUNS: usize = 20;

/// The run of that name, or the run that was used last.
pub(super) async fn find_run(store: &dyn Store, name: Option<&str>) -> Result<Run> {
    match (store.find_run(name).await?, name) {
        (Some(run), _) => Ok(run),
        (None, None) => Err(decided(Exit::Nothing, "the store holds no run yet")),
        (None, Some(name)) => {
            let runs = store.runs().await?;
            let mut known: Vec<String> = runs
                .iter()
                .take(NAMED_RUNS)
                .map(|run| format!("`{}`", run.name))
                .collect();
            if runs.len() > NAMED_RUNS {
                known.push(format!("and {} more", runs.len() - NAMED_RUNS));
            }
            Err(decided(
                Exit::Nothing,
                format!(
                    "the store holds no run `{name}` (there are: {})",
                    known.join(", ")
                ),
            ))
        }
    }
}

/// The search providers, which every chain of the settings and of the agents can use.
pub(super) fn providers(config: &Config, agents: &Agents, mock: Option<&mock::Mock>) -> Result<Providers> {
    if let Some(mock) = mock {
        return Providers::rehearsal(&mock.base_url())
            .map_err(|error| decided(Exit::Internal, error.to_string()));
    }
    let providers = Providers::load(&config.search, &process_env)
        .map_err(|error| decided(Exit::Usage, error.to_string()))?;
    for agent in agents.all() {
        let links = agent.search.as_ref().and_then(|spec| spec.providers.as_ref());
        if let Some(link) = links.into_iter().flatten().find(|link| !providers.knows(link)) {
            let message = format!(
                "agent file `{}`: `search.providers` names `{}`, which is no search provider (known: {})",
                agent.file.display(),
                shortened(link, 60),
                providers.known()
            );
            return Err(decided(Exit::Usage, message));
        }
    }
    Ok(providers)
}

/// The agents of these settings.
pub(super) fn agents(settings: &AgentSettings) -> Result<Arc<Agents>> {
    Agents::load(settings)
        .map(Arc::new)
        .map_err(|error| decided(Exit::Usage, error.to_string()))
}

/// The names that a command line gives to a session.
pub(super) fn session(user: &str, session: &str) -> Result<(UserId, SessionId)> {
    let user = UserId::parse(user).map_err(|error| decided(Exit::Usage, format!("`--user`: {error}")))?;
    let session =
        SessionId::parse(session).map_err(|error| decided(Exit::Usage, format!("the session: {error}")))?;
    Ok((user, session))
}

/// The error for a session that the store does not hold.
pub(super) fn no_session(user: &UserId, session: &SessionId) -> anyhow::Error {
    decided(
        Exit::Nothing,
        format!(
            "the store holds no session `{}` of user `{}` (see `nova3 session list`)",
            session.as_str(),
            user.as_str()
        ),
    )
}
