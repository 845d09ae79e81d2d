//! The arguments of each command. Defaults are in `config/default.toml`, so that the settings file and the environment
//! can override them.

mod ask;
mod input;
mod look;
mod metrics;
mod mock;
mod program;
mod redo;
mod report;
mod search;
mod session;
mod stop;
mod usage;
mod worker;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub(in crate::cli) use self::ask::AskArgs;
pub(in crate::cli) use self::input::{GivenFormat, InputArgs};
pub(in crate::cli) use self::look::{
    ReadFrom, ResultFormat, ResultOrder, ResultsArgs, RetryArgs, RunsArgs, StatusArgs, StatusFilter,
    VerifyArgs,
};
pub(in crate::cli) use self::metrics::MetricsArgs;
pub(in crate::cli) use self::mock::MockArgs;
pub(in crate::cli) use self::program::{CompletionsArgs, ConfigArgs, ExplainArgs, InitArgs, ManArgs};
pub(in crate::cli) use self::redo::RedoArgs;
pub(in crate::cli) use self::report::ReportArgs;
pub(in crate::cli) use self::search::SearchArgs;
pub(in crate::cli) use self::session::{
    AgentTestArgs, AgentsArgs, AgentsCommand, ExportFormat, SessionArgs, SessionCommand, WhichSession,
};
pub(in crate::cli) use self::stop::StopArgs;
pub(in crate::cli) use self::usage::{UsageArgs, UsageFormat};
pub(in crate::cli) use self::worker::WorkerArgs;

/// Turn a file of requests into finished LLM work; a stored answer is never paid for twice.
#[derive(Debug, Parser)]
#[command(name = "nova3", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(
    after_help = "To resume a run, run the same command again. Only missing or changed work is paid for."
)]
pub(in crate::cli) struct Cli {
    #[command(flatten)]
    pub(in crate::cli) global: Global,
    #[command(subcommand)]
    pub(in crate::cli) command: Command,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Global {
    /// Settings file
    #[arg(short, long, global = true, value_name = "FILE", env = "NOVA3_CONFIG")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Print errors only
    #[arg(short, long, global = true, value_parser = FalseyValueParser::new(), env = "NOVA3_QUIET")]
    pub(in crate::cli) quiet: bool,
    /// Print more; can be given up to three times
    #[arg(short, long, global = true, action = ArgAction::Count, env = "NOVA3_VERBOSE")]
    pub(in crate::cli) verbose: u8,
    /// Form of the messages on stderr: text, or one JSON object a line
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORM",
        env = "NOVA3_LOG_FORMAT"
    )]
    pub(in crate::cli) log_format: Option<LogFormat>,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", env = "NOVA3_COLOR")]
    pub(in crate::cli) color: Option<When>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Run unfinished and changed requests, and write the results
    Run(Box<RunArgs>),
    /// Work on the runs of a database that several hosts share
    Worker(Box<WorkerArgs>),
    /// Validate input, settings and templates; spends nothing
    Check(Box<CheckArgs>),
    /// Show the task queue of each request
    Plan(Box<PlanArgs>),
    /// Try a search by hand, and show what each provider says
    Search(SearchArgs),
    /// List, show, write or try agents
    Agents(AgentsArgs),
    /// List, show, export or clear sessions
    Session(SessionArgs),
    /// Show how many requests are done, running and failed
    Status(StatusArgs),
    /// List the runs of a store, the most recently used first
    Runs(RunsArgs),
    /// Show the bill of a store: the cost of all calls, by day, model, user and more
    Usage(UsageArgs),
    /// Print finished results: as lines, texts, or a table to open elsewhere
    Results(ResultsArgs),
    /// Write a run as one HTML page with charts, or two runs side by side
    Report(ReportArgs),
    /// Put failed requests back; the next `run` runs them again
    Retry(RetryArgs),
    /// Make finished tasks anew, and keep each result until the new one is there
    Redo(Box<RedoArgs>),
    /// Prove that a result file holds each finished request's latest line exactly once
    Verify(VerifyArgs),
    /// Start a mock server that speaks OpenAI's and Anthropic's API and injects faults
    Mock(MockArgs),
    /// Show the settings in force and where each value came from
    Config(ConfigArgs),
    /// Write a commented nova3.toml and an example input
    Init(InitArgs),
    /// Explain an error class or an exit code
    Explain(ExplainArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a manual page, or write all of them into a folder
    Man(ManArgs),
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RunArgs {
    /// Requests: one JSON object a line, or a table; `-` for standard input
    #[arg(value_name = "INPUT", default_value = "-", hide_default_value = true)]
    pub(in crate::cli) input: PathBuf,

    /// Result file; `-` or absent: standard output
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "NOVA3_OUTPUT",
        help_heading = "Output"
    )]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Keep the contents of the result file, and write after them
    #[arg(
        long,
        conflicts_with = "overwrite",
        value_parser = FalseyValueParser::new(), env = "NOVA3_APPEND",
        help_heading = "Output"
    )]
    pub(in crate::cli) append: bool,
    /// Replace a result file that this run did not write
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_OVERWRITE", help_heading = "Output")]
    pub(in crate::cli) overwrite: bool,
    /// Kind of output: one line for each finished request, or the service's events for each settled step
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        env = "NOVA3_EMIT",
        help_heading = "Output"
    )]
    pub(in crate::cli) emit: Option<Emit>,
    /// Write events to this file as well as the results
    #[arg(long, value_name = "FILE", env = "NOVA3_EVENTS", help_heading = "Output")]
    pub(in crate::cli) events: Option<PathBuf>,
    /// Write the outcome of this invocation to this file at its end, as one JSON object
    #[arg(
        long,
        value_name = "FILE",
        env = "NOVA3_SUMMARY_JSON",
        help_heading = "Output"
    )]
    pub(in crate::cli) summary_json: Option<PathBuf>,
    /// Write results in input order instead of completion order
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_KEEP_ORDER", help_heading = "Output")]
    pub(in crate::cli) keep_order: bool,

    /// The durable store: a file, or a database that workers share (`postgres://user@host/database`) [default: nova3.db]
    #[arg(long, value_name = "STORE", env = "NOVA3_STORE", help_heading = "Run")]
    pub(in crate::cli) store: Option<PathBuf>,
    /// Name of the run; the same name resumes the run [default: the input's file name]
    #[arg(long = "run", value_name = "NAME", env = "NOVA3_RUN", help_heading = "Run")]
    pub(in crate::cli) name: Option<String>,
    /// Stop if a request's content has changed since it was first read
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_FROZEN", help_heading = "Run")]
    pub(in crate::cli) frozen: bool,
    /// Run failed requests again
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_RETRY_FAILED", help_heading = "Run")]
    pub(in crate::cli) retry_failed: bool,
    /// Print what would be done and what it costs, as `check --estimate` does; sends and writes nothing
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_DRY_RUN", help_heading = "Run")]
    pub(in crate::cli) dry_run: bool,
    /// Join the run although agents, limits or cap differ from the stored ones; the stored limits and cap apply
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_ACCEPT_DRIFT", help_heading = "Run")]
    pub(in crate::cli) accept_drift: bool,
    /// Time to wait for a store that is in use or does not answer [default: 0s]
    #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK", help_heading = "Run")]
    pub(in crate::cli) wait_lock: Option<String>,
    /// Time that calls have to finish after the first signal [default: 30s]
    #[arg(long, value_name = "TIME", env = "NOVA3_GRACE", help_heading = "Run")]
    pub(in crate::cli) grace: Option<String>,

    /// Tasks of requests that name none, separated by commas (`insight,xhs_writing`); without this flag they are planned
    #[arg(long, value_name = "ACTIONS", env = "NOVA3_TASKS", help_heading = "Requests")]
    pub(in crate::cli) tasks: Option<String>,
    /// Pause each queue after this action, so that a person can choose; run again without this flag to continue
    #[arg(long, value_name = "ACTION", env = "NOVA3_UNTIL", help_heading = "Requests")]
    pub(in crate::cli) until: Option<String>,
    /// Check the whole input first; stop if a line is bad
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_STRICT", help_heading = "Requests")]
    pub(in crate::cli) strict: bool,
    /// Move unknown keys to `metadata` instead of refusing the line
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_LENIENT", help_heading = "Requests")]
    pub(in crate::cli) lenient: bool,

    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,
    #[command(flatten)]
    pub(in crate::cli) table: InputArgs,

    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
    /// Rehearse: send all calls to a mock server in this process; needs no key and costs nothing
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_MOCK", help_heading = "Model")]
    pub(in crate::cli) mock: bool,

    #[command(flatten)]
    pub(in crate::cli) stop: StopArgs,
    #[command(flatten)]
    pub(in crate::cli) metrics: MetricsArgs,

    /// Progress display on stderr
    #[arg(long, value_enum, value_name = "HOW", env = "NOVA3_PROGRESS")]
    pub(in crate::cli) progress: Option<ProgressMode>,
}

/// Flags that override a setting of the same name.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct ModelArgs {
    /// A route or chain of the settings, or a model for the only route
    #[arg(short, long, value_name = "NAME", env = "NOVA3_MODEL", help_heading = "Model")]
    pub(in crate::cli) model: Option<String>,
    /// Calls in flight at once [default: 20]
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        env = "NOVA3_CONCURRENCY",
        help_heading = "Model"
    )]
    pub(in crate::cli) concurrency: Option<usize>,
    /// Limit of requests a minute
    #[arg(long, value_name = "N", env = "NOVA3_RPM", help_heading = "Model")]
    pub(in crate::cli) rpm: Option<u32>,
    /// Limit of tokens a minute, input and output together
    #[arg(long, value_name = "N", env = "NOVA3_TPM", help_heading = "Model")]
    pub(in crate::cli) tpm: Option<u64>,
    /// Longest wait for the first data of a stream [default: 60s]
    #[arg(
        long,
        value_name = "TIME",
        env = "NOVA3_FIRST_TOKEN_TIMEOUT",
        help_heading = "Model"
    )]
    pub(in crate::cli) first_token_timeout: Option<String>,
    /// Longest wait between two pieces of an answer [default: 30s]
    #[arg(long, value_name = "TIME", env = "NOVA3_IDLE_TIMEOUT", help_heading = "Model")]
    pub(in crate::cli) idle_timeout: Option<String>,
    /// Longest duration of one call [default: 300s]
    #[arg(long, value_name = "TIME", env = "NOVA3_TIMEOUT", help_heading = "Model")]
    pub(in crate::cli) timeout: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ProgressMode {
    /// A panel on a terminal, a line a minute otherwise
    Auto,
    /// A panel
    Bar,
    /// A line a minute
    Plain,
    /// Errors only
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Emit {
    /// Result lines
    Results,
    /// Events
    Events,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArgs {
    /// Requests: one JSON object a line, or a table
    #[arg(value_name = "INPUT")]
    pub(in crate::cli) input: PathBuf,
    /// Ask the supervisor model for the missing plans; costs money, and the store keeps the plans
    #[arg(long)]
    pub(in crate::cli) call: bool,
    /// Show the prompt of each task of one request, given by its `custom_id` or line number
    #[arg(long, value_name = "ID", conflicts_with = "json")]
    pub(in crate::cli) show_prompt: Option<String>,
    /// Show finished tasks whose agent, model or context has changed; `nova3 redo --stale` makes them anew
    #[arg(long, conflicts_with_all = ["call", "show_prompt"])]
    pub(in crate::cli) stale: bool,
    /// Print one JSON object for each request
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Tasks of requests that name none, separated by commas
    #[arg(long, value_name = "ACTIONS", env = "NOVA3_TASKS")]
    pub(in crate::cli) tasks: Option<String>,
    /// Move unknown keys to `metadata` instead of refusing the line
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_LENIENT")]
    pub(in crate::cli) lenient: bool,
    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,
    #[command(flatten)]
    pub(in crate::cli) table: InputArgs,
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
    /// Name of the run [default: the input's file name]
    #[arg(long = "run", value_name = "NAME", env = "NOVA3_RUN")]
    pub(in crate::cli) name: Option<String>,
    /// Send all calls to a mock server in this process
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_MOCK")]
    pub(in crate::cli) mock: bool,
    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// Requests: one JSON object a line, or a table; `-` for standard input
    #[arg(value_name = "INPUT", default_value = "-", hide_default_value = true)]
    pub(in crate::cli) input: PathBuf,
    /// Estimate tokens, cost and time of a run; sends nothing
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_ESTIMATE")]
    pub(in crate::cli) estimate: bool,
    /// Print the estimate as one JSON object
    #[arg(long, requires = "estimate")]
    pub(in crate::cli) json: bool,
    /// The store that knows finished requests and the lengths of answers; it is only read [default: nova3.db]
    #[arg(long, value_name = "STORE", env = "NOVA3_STORE")]
    pub(in crate::cli) store: Option<PathBuf>,
    /// Name of the run whose finished requests are free [default: the input's file name]
    #[arg(long = "run", value_name = "NAME", env = "NOVA3_RUN")]
    pub(in crate::cli) name: Option<String>,
    /// Tasks of requests that name none, separated by commas
    #[arg(long, value_name = "ACTIONS", env = "NOVA3_TASKS")]
    pub(in crate::cli) tasks: Option<String>,
    /// Move unknown keys to `metadata` instead of refusing the line
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_LENIENT")]
    pub(in crate::cli) lenient: bool,
    #[command(flatten)]
    pub(in crate::cli) ask: AskArgs,
    #[command(flatten)]
    pub(in crate::cli) table: InputArgs,
    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
}
