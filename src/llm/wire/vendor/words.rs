//! The rows: errors first, then refusals, then finish reasons.

use super::Meaning::{
    Balance, Filter, InFlight, InSuccess, Key, Length, Model, Overload, Rate, Request, Sample, Status,
};
use super::{About, ErrorRow, FinishKind, Sign, With, begins, has, is, row, says};

const OPENAI: &str = "https://platform.openai.com/docs/guides/error-codes";
const AZURE: &str = "https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter";
const ANTHROPIC: &str = "https://docs.anthropic.com/en/api/errors";
const GOOGLE: &str = "https://ai.google.dev/gemini-api/docs/troubleshooting";
const GEMINI: &str = "https://ai.google.dev/api/generate-content#FinishReason";
const OPENROUTER: &str = "https://openrouter.ai/docs/api-reference/errors";
const GROQ: &str = "https://console.groq.com/docs/errors";
const XAI: &str = "https://docs.x.ai/docs/key-information/debugging";
const MISTRAL: &str = "https://docs.mistral.ai/api";
const MOONSHOT: &str = "https://platform.moonshot.cn/docs/api/chat";
const DEEPSEEK: &str = "https://api-docs.deepseek.com/quick_start/error_codes";
const DASHSCOPE: &str = "https://help.aliyun.com/zh/model-studio/error-code";
const ARK: &str = "https://www.volcengine.com/docs/82379/1299023";
const ZHIPU: &str = "https://docs.z.ai/api-reference/api-code";
const MINIMAX: &str = "https://platform.minimaxi.com/document/error_codes";
const QIANFAN: &str = "https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh";
const SPARK: &str = "https://www.xfyun.cn/doc/spark/HTTP调用文档.html";
const SILICONFLOW: &str = "https://docs.siliconflow.cn/faqs/error-code";
const ONE_API: &str = "https://github.com/songquanpeng/one-api";
const VLLM: &str = "https://github.com/vllm-project/vllm";
const LLAMA_CPP: &str = "https://github.com/ggml-org/llama.cpp/tree/master/tools/server";
const TGI: &str = "https://huggingface.co/docs/text-generation-inference";
const LITELLM: &str = "https://docs.litellm.ai/docs/exception_mapping";

/// A 400 may quote the prompt, so its text proves nothing about the account.
const NOT_QUOTED: With = With::Not(&[400]);
const NOT_REFUSED: With = With::Not(&[401, 403, 429]);

#[rustfmt::skip]
pub(super) static ERRORS: &[ErrorRow] = &[
    is("in_flight_budget_exhausted", InFlight, OPENROUTER),
    is("json_validate_failed", Sample, GROQ),
    says("json_validate_failed", Sample, GROQ),

    // DashScope also uses `insufficient_quota` for its limits a minute. Its own texts, and the id beside the error,
    // differ from OpenAI's.
    row(Sign::IsAndSays("insufficient_quota", "aliyun"), Rate, DASHSCOPE),
    row(Sign::IsAndSays("insufficient_quota", "alibabacloud"), Rate, DASHSCOPE),
    row(Sign::IsAndSays("insufficient_quota", "allocated quota"), Rate, DASHSCOPE),
    row(Sign::IsBeside("insufficient_quota", "request_id"), Rate, DASHSCOPE),
    has("allocationquota.freetieronly", Balance, DASHSCOPE),

    // The account.
    is("insufficient_quota", Balance, OPENAI),
    is("credit_balance_exhausted", Balance, OPENAI),
    is("organization_spend_limit_exceeded", Balance, OPENAI),
    is("project_spend_limit_exceeded", Balance, OPENAI),
    is("organization_usage_limit_exceeded", Balance, OPENAI),
    is("billing_hard_limit_reached", Balance, OPENAI),
    is("billing_not_active", Balance, OPENAI),
    is("billing_error", Balance, ANTHROPIC),
    is("exceeded_current_quota_error", Balance, MOONSHOT),
    is("arrearage", Balance, DASHSCOPE),
    has("accountoverdue", Balance, ARK),
    is("quotaexceeded", Balance, ARK),
    is("setlimitexceeded", Balance, ARK),
    is("insufficient_balance", Balance, DEEPSEEK),
    is("1110", Key, ZHIPU),
    is("1111", Key, ZHIPU),
    is("1112", Key, ZHIPU),
    is("1113", Balance, ZHIPU),
    is("1121", Key, ZHIPU),
    is("1308", Balance, ZHIPU),
    is("1309", Balance, ZHIPU),
    is("1310", Balance, ZHIPU),
    is("base_resp.1008", Balance, MINIMAX),
    is("base_resp.2056", Balance, MINIMAX),
    is("error_code.17", Balance, QIANFAN),
    is("11201", Balance, SPARK),
    is("30001", Balance, SILICONFLOW),
    is("insufficient_user_quota", Balance, ONE_API),
    is("pre_consume_token_quota_failed", Balance, ONE_API),
    // "exceeded your current quota" is left out, because Google uses it for its limits a minute.
    begins("your credit balance is too low", Balance, ANTHROPIC).with(With::Only(&[400])),
    says("insufficient balance", Balance, DEEPSEEK).with(NOT_QUOTED),
    says("insufficient_quota", Balance, OPENAI).with(NOT_QUOTED),
    says("余额不足", Balance, ZHIPU).with(NOT_QUOTED),
    says("欠费", Balance, ZHIPU).with(NOT_QUOTED),

    // The key.
    is("invalid_api_key", Key, OPENAI),
    is("account_deactivated", Key, OPENAI),
    is("unsupported_country_region_territory", Key, OPENAI),
    is("authentication_error", Key, ANTHROPIC),
    is("invalid_authentication_error", Key, MOONSHOT),
    is("1000", Key, ZHIPU),
    is("1001", Key, ZHIPU),
    is("1002", Key, ZHIPU),
    is("1003", Key, ZHIPU),
    is("1004", Key, ZHIPU),
    is("base_resp.1004", Key, MINIMAX),
    is("base_resp.2049", Key, MINIMAX),
    is("error_code.110", Key, QIANFAN),
    is("error_code.111", Key, QIANFAN),
    is("11200", Key, SPARK),
    begins("api key not valid", Key, GOOGLE).with(With::Only(&[400])),
    begins("api key expired", Key, GOOGLE).with(With::Only(&[400])),
    begins("incorrect api key", Key, XAI).with(With::Only(&[400])),

    // The length.
    is("context_length_exceeded", Length, OPENAI),
    is("string_above_max_length", Length, OPENAI),
    is("exceed_context_size_error", Length, LLAMA_CPP),
    is("1261", Length, ZHIPU),
    is("10907", Length, SPARK),
    says("maximum context length", Length, VLLM).with(NOT_REFUSED),
    says("context length exceeded", Length, OPENAI).with(NOT_REFUSED),
    says("context_length_exceeded", Length, OPENAI).with(NOT_REFUSED),
    says("available context size", Length, LLAMA_CPP).with(NOT_REFUSED),
    says("maximum model length", Length, VLLM).with(NOT_REFUSED),
    says("context window", Length, MINIMAX).with(NOT_REFUSED),
    says("prompt is too long", Length, ANTHROPIC).with(NOT_REFUSED),
    says("input token count", Length, GOOGLE).with(NOT_REFUSED),
    says("range of input length", Length, DASHSCOPE).with(NOT_REFUSED),
    says("request too large", Length, OPENAI).with(With::Only(&[429])),

    // The filter.
    is("content_filter", Filter, AZURE),
    is("responsibleaipolicyviolation", Filter, AZURE),
    is("content_policy_violation", Filter, OPENAI),
    is("data_inspection_failed", Filter, DASHSCOPE),
    is("datainspectionfailed", Filter, DASHSCOPE),
    has("sensitivecontent", Filter, ARK),
    is("1301", Filter, ZHIPU),
    is("base_resp.1026", Filter, MINIMAX),
    is("base_resp.1027", Filter, MINIMAX),
    is("10013", Filter, SPARK),
    is("10014", Filter, SPARK),
    is("10019", Filter, SPARK),
    is("sensitive_words_detected", Filter, ONE_API),
    is("prompt_blocked", Filter, ONE_API),
    says("content exists risk", Filter, DEEPSEEK),
    says("content violates usage guidelines", Filter, XAI),
    says("不安全或敏感内容", Filter, ZHIPU),

    // The model.
    is("model_not_found", Model, OPENAI),
    has("invalidendpointormodel", Model, ARK),
    is("modelnotopen", Model, ARK),
    is("1211", Model, ZHIPU),
    is("20012", Model, SILICONFLOW),

    // The rate.
    is("rate_limit_error", Status(429), ANTHROPIC),
    has("rate_limit_exceeded", Status(429), OPENAI),
    is("slow_down", Status(429), OPENAI),
    is("too_many_requests", Status(429), OPENROUTER),
    is("rate_limited", Status(429), MISTRAL),
    is("rate_limit_reached_error", Status(429), MOONSHOT),
    has("throttling", Status(429), DASHSCOPE),
    has("limit_requests", Status(429), DASHSCOPE),
    has("ratelimitexceeded", Status(429), ARK),
    has("rpmexceeded", Status(429), ARK),
    has("tpmexceeded", Status(429), ARK),
    is("requestbursttoofast", Status(429), ARK),
    is("1302", Status(429), ZHIPU),
    is("1303", Status(429), ZHIPU),
    is("1304", Status(429), ZHIPU),
    is("1305", Status(429), ZHIPU),
    is("1312", Status(429), ZHIPU),
    is("base_resp.1002", Status(429), MINIMAX),
    is("base_resp.1039", Status(429), MINIMAX),
    is("base_resp.1041", Status(429), MINIMAX),
    is("base_resp.2045", Status(429), MINIMAX),
    is("error_code.4", Status(429), QIANFAN),
    is("error_code.18", Status(429), QIANFAN),
    is("error_code.336501", Status(429), QIANFAN),
    is("error_code.336502", Status(429), QIANFAN),
    is("10007", Status(429), SPARK),
    is("11202", Status(429), SPARK),
    is("11203", Status(429), SPARK),

    // The server.
    is("engine_overloaded_error", Overload, MOONSHOT),
    is("serveroverloaded", Overload, ARK),
    is("1120", Overload, ZHIPU),
    is("1230", Overload, ZHIPU),
    is("1234", Overload, ZHIPU),
    is("base_resp.1000", Overload, MINIMAX),
    is("base_resp.1001", Overload, MINIMAX),
    is("base_resp.1013", Overload, MINIMAX),
    is("base_resp.1024", Overload, MINIMAX),
    is("base_resp.1033", Overload, MINIMAX),
    is("10110", Overload, SPARK),
    is("50505", Overload, SILICONFLOW),
    is("50603", Overload, SILICONFLOW),

    // The request.
    is("1210", Request, ZHIPU),
    is("1214", Request, ZHIPU),
    is("base_resp.2013", Request, MINIMAX),

    // The status for the name of an error inside a success without a numeric code.
    is("invalid_request_error", InSuccess(400), OPENAI),
    is("badrequesterror", InSuccess(400), VLLM),
    is("bad_request", InSuccess(400), LITELLM),
    is("invalid_argument", InSuccess(400), GOOGLE),
    is("permission_error", InSuccess(401), ANTHROPIC),
    is("permission_denied", InSuccess(401), GOOGLE),
    is("unauthorized", InSuccess(401), LITELLM),
    is("unauthenticated", InSuccess(401), GOOGLE),
    is("not_found_error", InSuccess(404), ANTHROPIC),
    is("notfounderror", InSuccess(404), VLLM),
    is("not_found", InSuccess(404), GOOGLE),
    is("timeout", InSuccess(408), LITELLM),
    is("timeout_error", InSuccess(408), ANTHROPIC),
    is("request_timeout", InSuccess(408), OPENROUTER),
    is("resource_exhausted", InSuccess(429), GOOGLE),
    is("requests", InSuccess(429), OPENAI),
    is("tokens", InSuccess(429), OPENAI),
    is("overloaded_error", InSuccess(503), ANTHROPIC),
    is("server_is_overloaded", InSuccess(503), OPENAI),
    is("unavailable_error", InSuccess(503), LLAMA_CPP),
    is("service_unavailable_error", InSuccess(503), DEEPSEEK),
];

/// Refusals of a part of a request: the words in the message, the part, the source. Local servers use "grammar",
/// "guided" and the like for `response_format`. A refused `tool_choice` concerns an answer whose form a tool enforces.
#[rustfmt::skip]
pub(super) static REFUSALS: &[(&str, About, &str)] = &[
    ("response_format", About::Form, OPENAI),
    ("response format", About::Form, OPENAI),
    ("json_schema", About::Form, OPENAI),
    ("json schema", About::Form, OPENAI),
    ("json_object", About::Form, DEEPSEEK),
    ("json mode", About::Form, SILICONFLOW),
    ("json_mode", About::Form, GOOGLE),
    ("json output", About::Form, GOOGLE),
    ("structured output", About::Form, OPENROUTER),
    ("structured_output", About::Form, AZURE),
    ("response_schema", About::Form, GOOGLE),
    ("response schema", About::Form, GOOGLE),
    ("responseschema", About::Form, GOOGLE),
    ("guided", About::Form, VLLM),
    ("guidance", About::Form, VLLM),
    ("outlines", About::Form, VLLM),
    ("grammar", About::Form, LLAMA_CPP),
    ("constrained decoding", About::Form, VLLM),
    ("output_config", About::Form, ANTHROPIC),
    ("output_format", About::Form, ANTHROPIC),
    ("output format", About::Form, ANTHROPIC),
    ("tool_choice", About::Form, ANTHROPIC),
    ("input_schema", About::Form, ANTHROPIC),
    ("结构化输出", About::Form, ZHIPU),
    ("json模式", About::Form, ARK),

    ("max_tokens", About::Longest, OPENAI),
    ("max_completion_tokens", About::Longest, OPENAI),
    ("max_output_tokens", About::Longest, GOOGLE),
    ("maxoutputtokens", About::Longest, GOOGLE),
    ("max_new_tokens", About::Longest, TGI),
    ("completion tokens", About::Longest, OPENAI),
    ("max tokens", About::Longest, LITELLM),
    ("output tokens", About::Longest, ANTHROPIC),

    ("maximum context length", About::Window, OPENAI),
    ("context length is", About::Window, VLLM),
    ("context window of", About::Window, LITELLM),
    ("max_model_len", About::Window, VLLM),
    ("exceed context limit", About::Window, ANTHROPIC),

    ("unrecognized", About::UnknownField, OPENAI),
    ("unsupported parameter", About::UnknownField, OPENAI),
    ("unsupported_parameter", About::UnknownField, OPENAI),
    ("unsupported value", About::UnknownField, OPENAI),
    ("unsupported_value", About::UnknownField, OPENAI),
    ("extra inputs", About::UnknownField, MISTRAL),
    ("extra fields", About::UnknownField, MISTRAL),
    ("extra_forbidden", About::UnknownField, MISTRAL),
    ("not permitted", About::UnknownField, MISTRAL),
    ("not supported", About::UnknownField, GROQ),
    ("does not support", About::UnknownField, AZURE),
    ("unknown", About::UnknownField, GOOGLE),
    ("unexpected keyword", About::UnknownField, VLLM),
    ("no such field", About::UnknownField, GOOGLE),
    ("cannot both be specified", About::UnknownField, ANTHROPIC),
    ("is deprecated for this model", About::UnknownField, ANTHROPIC),
];

/// Finish reasons: the word, its meaning, its source.
#[rustfmt::skip]
pub(super) static ENDS: &[(&str, FinishKind, &str)] = &[
    ("stop", FinishKind::Whole, OPENAI),
    ("eos", FinishKind::Whole, TGI),
    ("eos_token", FinishKind::Whole, TGI),
    ("stop_sequence", FinishKind::Whole, TGI),
    ("end_turn", FinishKind::Whole, LITELLM),
    ("length", FinishKind::Cut, OPENAI),
    ("max_tokens", FinishKind::Cut, ANTHROPIC),
    ("max_output_tokens", FinishKind::Cut, OPENAI),
    ("model_length", FinishKind::Cut, MISTRAL),
    ("model_context_window_exceeded", FinishKind::Cut, ZHIPU),
    ("tool_calls", FinishKind::Tools, OPENAI),
    ("function_call", FinishKind::Tools, OPENAI),
    ("tool_use", FinishKind::Tools, ANTHROPIC),
    ("content_filter", FinishKind::Filtered, OPENAI),
    ("content_filtered", FinishKind::Filtered, LITELLM),
    ("sensitive", FinishKind::Filtered, ZHIPU),
    ("refusal", FinishKind::Filtered, ANTHROPIC),
    ("safety", FinishKind::Filtered, GEMINI),
    ("recitation", FinishKind::Filtered, GEMINI),
    ("blocklist", FinishKind::Filtered, GEMINI),
    ("prohibited_content", FinishKind::Filtered, GEMINI),
    ("spii", FinishKind::Filtered, GEMINI),
    ("image_safety", FinishKind::Filtered, GEMINI),
    ("guardrail_intervened", FinishKind::Filtered, LITELLM),
    ("error", FinishKind::Broken, OPENROUTER),
    ("insufficient_system_resource", FinishKind::Broken, DEEPSEEK),
    ("abort", FinishKind::Broken, VLLM),
    ("pause_turn", FinishKind::Broken, ANTHROPIC),
    ("network_error", FinishKind::Broken, ZHIPU),
    ("malformed_function_call", FinishKind::Broken, GEMINI),
    ("", FinishKind::Unnamed, LITELLM),
    ("null", FinishKind::Unnamed, DASHSCOPE),
];
