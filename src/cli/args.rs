//! The command line. Defaults are not given here: they are in `config/default.toml`, below file and environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Turn a file of requests into finished LLM work, and never pay twice for an answer it has stored.
#[derive(Debug, Parser)]
#[command(name = "nova3", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(
    after_help = "Run the same command again to go on where it stopped: it pays only for what is missing or changed."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Settings file
    #[arg(short, long, global = true, value_name = "FILE", env = "NOVA3_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Errors only
    #[arg(short, long, global = true, value_parser = FalseyValueParser::new(), env = "NOVA3_QUIET")]
    pub(super) quiet: bool,
    /// Tell more; up to three times
    #[arg(short, long, global = true, action = ArgAction::Count, env = "NOVA3_VERBOSE")]
    pub(super) verbose: u8,
    /// Form of log lines
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORM",
        env = "NOVA3_LOG_FORMAT"
    )]
    pub(super) log_format: Option<LogFormat>,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", env = "NOVA3_COLOR")]
    pub(super) color: Option<When>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run what is unfinished or changed, and write the results
    Run(Box<RunArgs>),
    /// Validate input, settings and templates; spends nothing
    Check(CheckArgs),
    /// Show what is done, running, failed
    Status(StatusArgs),
    /// Print finished results
    Results(ResultsArgs),
    /// Put failed requests back, to be run by the next `run`
    Retry(RetryArgs),
    /// Prove that a result file holds each finished request's latest line exactly once
    Verify(VerifyArgs),
    /// A fault-injecting OpenAI-compatible server for rehearsal
    Mock(MockArgs),
    /// Show the settings in force and where each value came from
    Config(ConfigArgs),
    /// Write a commented nova3.toml and an example input
    Init(InitArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Requests, one JSON object a line; `-` for standard input
    #[arg(value_name = "INPUT", default_value = "-", hide_default_value = true)]
    pub(super) input: PathBuf,

    /// Result file; `-` or absent: standard output
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "NOVA3_OUTPUT",
        help_heading = "Output"
    )]
    pub(super) output: Option<PathBuf>,
    /// Keep what the result file holds and write behind it
    #[arg(
        long,
        conflicts_with = "overwrite",
        value_parser = FalseyValueParser::new(), env = "NOVA3_APPEND",
        help_heading = "Output"
    )]
    pub(super) append: bool,
    /// Replace a result file that is not this run's
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_OVERWRITE", help_heading = "Output")]
    pub(super) overwrite: bool,
    /// Write results in input order instead of as they finish
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_KEEP_ORDER", help_heading = "Output")]
    pub(super) keep_order: bool,

    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE", help_heading = "Run")]
    pub(super) store: Option<PathBuf>,
    /// Name of the run; the same name means resume [default: the input's file name]
    #[arg(long = "run", value_name = "NAME", env = "NOVA3_RUN", help_heading = "Run")]
    pub(super) name: Option<String>,
    /// Stop if a request's content has changed since it was first read
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_FROZEN", help_heading = "Run")]
    pub(super) frozen: bool,
    /// Put failed requests back first
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_RETRY_FAILED", help_heading = "Run")]
    pub(super) retry_failed: bool,
    /// How long to wait for a store in use [default: 0s]
    #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK", help_heading = "Run")]
    pub(super) wait_lock: Option<String>,
    /// Time to finish calls after a first signal [default: 30s]
    #[arg(long, value_name = "TIME", env = "NOVA3_GRACE", help_heading = "Run")]
    pub(super) grace: Option<String>,

    /// Tasks of requests that name none, by comma (`answer`)
    #[arg(long, value_name = "ACTIONS", env = "NOVA3_TASKS", help_heading = "Requests")]
    pub(super) tasks: Option<String>,
    /// Check the whole input first; stop if a line is bad
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_STRICT", help_heading = "Requests")]
    pub(super) strict: bool,
    /// Move unknown keys to `metadata` instead of refusing the line
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_LENIENT", help_heading = "Requests")]
    pub(super) lenient: bool,

    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// Rehearse: send everything through a mock server in this process; needs no key and costs nothing
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_MOCK", help_heading = "Model")]
    pub(super) mock: bool,

    /// What to show on stderr
    #[arg(long, value_enum, value_name = "HOW", env = "NOVA3_PROGRESS")]
    pub(super) progress: Option<Progress>,
}

/// Flags that settings have too.
#[derive(Debug, Default, Args)]
pub(super) struct ModelArgs {
    /// A route of the settings, or a model for the only route
    #[arg(short, long, value_name = "NAME", env = "NOVA3_MODEL", help_heading = "Model")]
    pub(super) model: Option<String>,
    /// Calls at once [default: 20]
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        env = "NOVA3_CONCURRENCY",
        help_heading = "Model"
    )]
    pub(super) concurrency: Option<usize>,
    /// Requests a minute
    #[arg(long, value_name = "N", env = "NOVA3_RPM", help_heading = "Model")]
    pub(super) rpm: Option<u32>,
    /// Tokens a minute, input and output together
    #[arg(long, value_name = "N", env = "NOVA3_TPM", help_heading = "Model")]
    pub(super) tpm: Option<u64>,
    /// Longest wait for the first data of a stream [default: 60s]
    #[arg(
        long,
        value_name = "TIME",
        env = "NOVA3_FIRST_TOKEN_TIMEOUT",
        help_heading = "Model"
    )]
    pub(super) first_token_timeout: Option<String>,
    /// Longest silence between two pieces of an answer [default: 30s]
    #[arg(long, value_name = "TIME", env = "NOVA3_IDLE_TIMEOUT", help_heading = "Model")]
    pub(super) idle_timeout: Option<String>,
    /// Longest time of one call [default: 300s]
    #[arg(long, value_name = "TIME", env = "NOVA3_TIMEOUT", help_heading = "Model")]
    pub(super) timeout: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
    /// A bar on a terminal, one closing line otherwise
    Auto,
    /// A bar
    Bar,
    /// One closing line
    Plain,
    /// Nothing but errors
    None,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Requests, one JSON object a line; `-` for standard input
    #[arg(value_name = "INPUT", default_value = "-", hide_default_value = true)]
    pub(super) input: PathBuf,
    /// Tasks of requests that name none, by comma
    #[arg(long, value_name = "ACTIONS", env = "NOVA3_TASKS")]
    pub(super) tasks: Option<String>,
    /// Take unknown keys for `metadata`
    #[arg(long, value_parser = FalseyValueParser::new(), env = "NOVA3_LENIENT")]
    pub(super) lenient: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

/// Which run of which store.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The run [default: the one used last]
    #[arg(value_name = "RUN")]
    pub(super) run: Option<String>,
    /// The durable store [default: nova3.db]
    #[arg(long, value_name = "FILE", env = "NOVA3_STORE")]
    pub(super) store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Again every second until everything is finished
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResultsArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// Only of this status
    #[arg(long, value_enum)]
    pub(super) status: Option<StatusFilter>,
    /// Only of these `custom_id`s
    #[arg(long, value_name = "ID")]
    pub(super) id: Vec<String>,
    /// In which order
    #[arg(long, value_enum, default_value = "completion")]
    pub(super) order: ResultOrder,
    /// In which form
    #[arg(long, value_enum, default_value = "jsonl")]
    pub(super) format: ResultFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusFilter {
    Completed,
    Partial,
    Failed,
    Paused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultOrder {
    Completion,
    Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultFormat {
    /// Result lines, as `run` writes them
    Jsonl,
    /// The texts alone
    Text,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// Only failures of these classes, by comma
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub(super) class: Vec<String>,
    /// Only these `custom_id`s
    #[arg(long, value_name = "ID")]
    pub(super) id: Vec<String>,
    /// How long to wait for a store in use
    #[arg(long, value_name = "TIME", env = "NOVA3_WAIT_LOCK")]
    pub(super) wait_lock: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// The result file [default: every file of the run on this host]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct MockArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Decides answers and faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Median time to the first token
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub(super) latency: String,
    /// Time for each further token
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub(super) token_latency: String,
    /// Share of calls that take up to ten times as long
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) tail: f64,
    /// Pieces of an answer; 0 for a natural length
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) tokens: usize,
    /// A real limit of requests a minute
    #[arg(long, value_name = "N")]
    pub(super) rpm: Option<u32>,
    /// A real limit of tokens a minute
    #[arg(long, value_name = "N")]
    pub(super) tpm: Option<u64>,
    /// What a 429 asks for in `Retry-After`
    #[arg(long, value_name = "TIME")]
    pub(super) retry_after: Option<String>,
    /// Refuse every other key than the one in this variable
    #[arg(long, value_name = "VARIABLE")]
    pub(super) key_env: Option<String>,
    /// Write every call to this file
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// Faults as shares of calls, by comma: `429=0.03,500=0.05,disconnect=0.02,truncate=…,stall=…,garbage=…,error=…`
    #[arg(long, value_name = "LIST", default_value = "")]
    pub(super) faults: String,
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub(super) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: Shell,
}
