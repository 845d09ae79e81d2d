//! HTTP errors: their class, and the reaction that they need.
//!
//! An error without a status (no connection, a cut stream, a stall) belongs to the transport: `tests/cli/faults.rs`. An
//! answer that does not have the requested form belongs to the agent.

use super::Recorded;
use nova3::domain::failure::Class::{
    self, Auth, BadRequest, ContentFilter, ContextLength, Quota, RateLimited, Server, Timeout,
};
use nova3::domain::failure::Verdict::{self, Elsewhere, Final, Latch, Pause, Retry, RetryQuietly};

/// The case, the file, class, verdict, and the name that is kept.
pub(super) type Refusal = (&'static str, &'static str, Class, Verdict, Option<&'static str>);

#[test]
fn refusals_are_judged_as_the_table_says() {
    hold(&rows());
}

pub(super) fn hold(rows: &[Refusal]) {
    for &(case, file, class, verdict, code) in rows {
        let recorded = Recorded::read(file);
        let error = recorded.judge();
        assert_eq!(
            (error.class, error.verdict, error.code.as_deref(), error.status),
            (class, verdict, code, Some(recorded.status)),
            "{case} ({file})"
        );
    }
}

pub(super) fn rows() -> Vec<Refusal> {
    [requests(), doors(), pauses(), money(), servers()].concat()
}

/// Errors of the request.
fn requests() -> Vec<Refusal> {
    vec![
        (
            "400",
            "400_invalid_request.http",
            BadRequest,
            Final,
            Some("unsupported_value"),
        ),
        ("400 as HTML", "400_html.http", BadRequest, Final, None),
        (
            "400 context_length_exceeded",
            "400_context_length.http",
            ContextLength,
            Elsewhere,
            Some("context_length_exceeded"),
        ),
        (
            "400 context, llama.cpp",
            "400_llamacpp_context.http",
            ContextLength,
            Elsewhere,
            Some("400"),
        ),
        (
            "400 context, vLLM, `object: error`",
            "400_vllm_context.http",
            ContextLength,
            Elsewhere,
            Some("400"),
        ),
        (
            "400 content_filter",
            "400_content_filter.http",
            ContentFilter,
            Elsewhere,
            Some("content_filter"),
        ),
        (
            "400 content_filter, Azure",
            "400_azure_filter.http",
            ContentFilter,
            Elsewhere,
            Some("content_filter"),
        ),
        (
            "403 moderation, OpenRouter",
            "403_openrouter_moderation.http",
            ContentFilter,
            Elsewhere,
            Some("403"),
        ),
        (
            "413, Anthropic",
            "413_anthropic.http",
            BadRequest,
            Final,
            Some("request_too_large"),
        ),
        ("413 of a proxy", "413_nginx.http", BadRequest, Final, None),
        (
            "422, DeepSeek",
            "422_deepseek.http",
            BadRequest,
            Final,
            Some("invalid_request_error"),
        ),
        ("422, FastAPI", "422_fastapi.http", BadRequest, Final, None),
        (
            "400 that litellm says to try again",
            "400_litellm_retry.http",
            BadRequest,
            Retry,
            Some("400"),
        ),
    ]
}

/// The key, the place or the model is refused, for every request.
fn doors() -> Vec<Refusal> {
    vec![
        (
            "401 invalid_api_key",
            "401_invalid_key.http",
            Auth,
            Latch,
            Some("invalid_api_key"),
        ),
        (
            "400 for a bad key (Google)",
            "400_google_key.http",
            Auth,
            Latch,
            Some("400"),
        ),
        ("401 without a body", "401_no_body.http", Auth, Latch, None),
        (
            "403 unsupported_country",
            "403_country.http",
            Auth,
            Latch,
            Some("unsupported_country_region_territory"),
        ),
        ("403 of a proxy", "403_cloudflare.http", Auth, Latch, None),
        (
            "404 model_not_found",
            "404_model_not_found.http",
            BadRequest,
            Latch,
            Some("model_not_found"),
        ),
        (
            "404, Ollama, `error` a string",
            "404_ollama_model.http",
            BadRequest,
            Latch,
            None,
        ),
        ("404 of a proxy", "404_html.http", BadRequest, Latch, None),
    ]
}

/// Too many requests, or two at once.
fn pauses() -> Vec<Refusal> {
    let limited = |case, file, code| (case, file, RateLimited, Pause, code);
    let exceeded = Some("rate_limit_exceeded");
    vec![
        limited("429 rate_limit_exceeded", "429_rate_limit.http", exceeded),
        limited("429 retry-after-ms", "429_retry_after_ms.http", exceeded),
        limited(
            "429 retry-after in seconds",
            "429_retry_after_seconds.http",
            exceeded,
        ),
        limited("429 retry-after as a date", "429_retry_after_date.http", exceeded),
        limited("429 for an hour", "429_retry_after_an_hour.http", exceeded),
        limited("429, OpenRouter", "429_openrouter_retry_after.http", Some("429")),
        limited(
            "429, DeepSeek",
            "429_deepseek.http",
            Some("rate_limit_reached_error"),
        ),
        limited(
            "429, Anthropic, may be a spend limit",
            "429_anthropic_no_wait.http",
            Some("rate_limit_error"),
        ),
        limited("429 slow_down", "429_slow_down.http", Some("slow_down")),
        limited(
            "503 slow_down, as it was before",
            "503_slow_down.http",
            Some("slow_down"),
        ),
        (
            "429 that a gateway says not to try again",
            "429_no_retry.http",
            RateLimited,
            Elsewhere,
            exceeded,
        ),
        ("409", "409_lock.http", Server, RetryQuietly, Some("lock_timeout")),
        (
            "402 in_flight_budget_exhausted, OpenRouter",
            "402_openrouter_in_flight.http",
            RateLimited,
            RetryQuietly,
            Some("402"),
        ),
    ]
}

/// Waiting does not fill an account, so the code outweighs the status.
fn money() -> Vec<Refusal> {
    let broke = |case, file, code| (case, file, Quota, Latch, Some(code));
    vec![
        broke(
            "402, DeepSeek",
            "402_deepseek_balance.http",
            "invalid_request_error",
        ),
        broke("402, OpenRouter", "402_openrouter_credits.http", "402"),
        broke(
            "402 billing_error, Anthropic",
            "402_anthropic_billing.http",
            "billing_error",
        ),
        broke(
            "429 credit_balance_exhausted",
            "429_credit_balance_exhausted.http",
            "credit_balance_exhausted",
        ),
        broke(
            "429 organization_spend_limit_exceeded",
            "429_organization_spend_limit_exceeded.http",
            "organization_spend_limit_exceeded",
        ),
        broke(
            "429 project_spend_limit_exceeded",
            "429_project_spend_limit_exceeded.http",
            "project_spend_limit_exceeded",
        ),
        broke(
            "429 organization_usage_limit_exceeded",
            "429_organization_usage_limit_exceeded.http",
            "organization_usage_limit_exceeded",
        ),
        broke(
            "429 insufficient_quota, older",
            "429_insufficient_quota.http",
            "insufficient_quota",
        ),
        broke(
            "429 insufficient_quota as the type alone",
            "429_quota_by_type.http",
            "insufficient_quota",
        ),
        broke(
            "429 billing_hard_limit_reached",
            "429_billing_hard_limit.http",
            "billing_hard_limit_reached",
        ),
        broke(
            "400 billing_hard_limit_reached",
            "400_billing_hard_limit.http",
            "billing_hard_limit_reached",
        ),
        broke(
            "503 around insufficient_quota",
            "503_insufficient_quota.http",
            "insufficient_quota",
        ),
    ]
}

/// Errors of the server.
fn servers() -> Vec<Refusal> {
    let ill = |case, file, code| (case, file, Server, Retry, code);
    vec![
        (
            "408, OpenRouter",
            "408_openrouter.http",
            Timeout,
            Retry,
            Some("408"),
        ),
        ill("500, OpenAI", "500_openai.http", Some("server_error")),
        ill("500 as text", "500_text.http", None),
        ill(
            "502, OpenRouter, the model is down",
            "502_openrouter.http",
            Some("502"),
        ),
        ill("502 as HTML", "502_nginx.http", None),
        ill(
            "503 server_is_overloaded",
            "503_overloaded.http",
            Some("server_is_overloaded"),
        ),
        ill(
            "503, DeepSeek",
            "503_deepseek.http",
            Some("service_unavailable_error"),
        ),
        ill(
            "503 no provider, OpenRouter",
            "503_openrouter_no_provider.http",
            Some("503"),
        ),
        ill(
            "503 Loading model, llama.cpp",
            "503_llamacpp_loading.http",
            Some("503"),
        ),
        ill("504 as HTML", "504_cloudflare.http", None),
        ill("504 without a body", "504_empty.http", None),
        ill(
            "529, Anthropic",
            "529_anthropic_overloaded.http",
            Some("overloaded_error"),
        ),
        (
            "500 that litellm says not to try again",
            "500_litellm_no_retry.http",
            Server,
            Elsewhere,
            Some("500"),
        ),
    ]
}
