//! The names of attributes: the GenAI conventions of OpenTelemetry (semantic-conventions-genai 0.1.0), OpenInference for
//! the kind of a span, and names of our own that begin with `nova3.`.
//!
//! The constants of the crate `opentelemetry-semantic-conventions` are deprecated since the conventions moved.

pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
pub(super) const CONVERSATION: &str = "gen_ai.conversation.id";
pub(super) const AGENT_NAME: &str = "gen_ai.agent.name";
pub(super) const AGENT_ID: &str = "gen_ai.agent.id";
pub(super) const TOOL_NAME: &str = "gen_ai.tool.name";
pub(super) const TOOL_TYPE: &str = "gen_ai.tool.type";
pub(super) const TOOL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
pub(super) const TOOL_RESULT: &str = "gen_ai.tool.call.result";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub(super) const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
pub(super) const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
pub(super) const REQUEST_SEED: &str = "gen_ai.request.seed";
pub(super) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(super) const RESPONSE_ID: &str = "gen_ai.response.id";
pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(super) const RESPONSE_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
pub(super) const USAGE_INPUT: &str = "gen_ai.usage.input_tokens";
pub(super) const USAGE_OUTPUT: &str = "gen_ai.usage.output_tokens";
pub(super) const USAGE_CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const USAGE_CACHE_WRITE: &str = "gen_ai.usage.cache_write.input_tokens";
pub(super) const INPUT_MESSAGES: &str = "gen_ai.input.messages";
pub(super) const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const STATUS_CODE: &str = "http.response.status_code";
pub(super) const USER_ID: &str = "user.id";
pub(super) const SESSION_ID: &str = "session.id";
pub(super) const INPUT_VALUE: &str = "input.value";
pub(super) const OUTPUT_VALUE: &str = "output.value";
pub(super) const SPAN_KIND: &str = "openinference.span.kind";

pub(super) const RUN: &str = "nova3.run";
pub(super) const CUSTOM_ID: &str = "nova3.custom_id";
pub(super) const QUEUE: &str = "nova3.queue.id";
pub(super) const TASK: &str = "nova3.task.id";
pub(super) const TASK_VERSION: &str = "nova3.task.version";
pub(super) const TASK_NEEDS: &str = "nova3.task.needs";
pub(super) const STATUS: &str = "nova3.status";
pub(super) const ATTEMPTS: &str = "nova3.attempts";
pub(super) const ROUTE: &str = "nova3.route";
pub(super) const LANE: &str = "nova3.lane";
pub(super) const USED: &str = "nova3.used";
pub(super) const COST: &str = "nova3.cost_usd";
pub(super) const WASTED: &str = "nova3.wasted_usd";
pub(super) const UNCERTAIN: &str = "nova3.uncertain_usd";
pub(super) const FALLBACK_FROM: &str = "nova3.fallback.from";
pub(super) const FALLBACK_REASON: &str = "nova3.fallback.reason";
pub(super) const DEGRADED: &str = "nova3.degraded";
pub(super) const WARNINGS: &str = "nova3.warnings";
pub(super) const WARNING_COUNT: &str = "nova3.warning_count";
pub(super) const WAITED: &str = "nova3.waited_ms";
pub(super) const LEFT_OUT: &str = "nova3.spans_left_out";
