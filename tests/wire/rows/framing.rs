//! Server-sent events, and their substitutes.

use super::{Fault, Row, billed, hold, said, undone, unreasoned};
use nova3::domain::failure::Class::{
    BadRequest, ContentFilter, ContextLength, Network, Quota, RateLimited, Server,
};
use nova3::domain::failure::Verdict::{Elsewhere, Latch, Pause, Retry};
use nova3::llm::Answer;

#[test]
fn streams_come_to_what_the_table_says() {
    hold(&rows());
}

pub(super) fn rows() -> Vec<Row> {
    [
        lines(),
        ends(),
        error_objects(),
        errors_in_other_dress(),
        instead_of_a_stream(),
    ]
    .concat()
}

/// Lines and fields.
fn lines() -> Vec<Row> {
    let reasoned = Answer {
        reasoning_chars: 4,
        ..billed("答案", 100, 64, 20)
    };
    vec![
        ("`: keep-alive`, Chinese text", "deepseek.sse", Ok(reasoned)),
        ("bare `:`", "llamacpp.sse", Ok(billed("Hi", 8, 0, 2))),
        (
            "comments and nothing else",
            "only_comments.sse",
            Err((
                Network,
                Retry,
                None,
                "the stream ended after 0 bytes of text without a finish reason",
            )),
        ),
        ("BOM before the first field", "bom.sse", Ok(said("first"))),
        ("BOM, CRLF", "crlf_bom.sse", Ok(said("é"))),
        ("CRLF inside an event", "crlf_many_lines.sse", Ok(said("spread"))),
        ("CR alone", "cr_only.sse", Ok(said("回车"))),
        (
            "U+2028 and U+0085 are no line ends",
            "line_separator.sse",
            Ok(said("a\u{2028}b\u{85}c")),
        ),
        (
            "several `data:` lines are one event",
            "many_data_lines.sse",
            Ok(said("spread")),
        ),
        (
            "id, retry and unknown fields and names",
            "foreign_fields.sse",
            Ok(said("known")),
        ),
        ("`data:` without a payload", "empty_data.sse", Ok(said("ab"))),
        (
            "two objects joined by one line feed",
            "joined_objects.sse",
            Ok(said("one two")),
        ),
        (
            "the end joined to the text",
            "joined_end.sse",
            Ok(said("together")),
        ),
        (
            "no blank line at all",
            "joined_everything.sse",
            Ok(said("no blanks")),
        ),
        (
            "invalid UTF-8",
            "invalid_utf8.sse",
            Err((Server, Retry, None, "the stream is not valid UTF-8")),
        ),
        (
            "invalid UTF-8 when the text is complete",
            "invalid_utf8_after_finish.sse",
            Ok(undone(said("paid"))),
        ),
        ("an event that is no JSON", "garbage.sse", Ok(said("ok"))),
        (
            "an event that is no JSON when the text is complete",
            "garbage_after_finish.sse",
            Ok(said("paid")),
        ),
    ]
}

/// `[DONE]`, the finish reason, and the end of the bytes.
fn ends() -> Vec<Row> {
    let cut = |message| Err((Network, Retry, None, message));
    let empty = Err((
        Server,
        Retry,
        None,
        "the stream was empty: its end came before any content",
    ));
    vec![
        (
            "`data:[DONE]` without a space",
            "done_without_space.sse",
            Ok(said("tight")),
        ),
        ("`[DONE]` between spaces", "done_padded.sse", Ok(said("wide"))),
        (
            "`[DONE]` without a line end",
            "llamacpp.sse",
            Ok(billed("Hi", 8, 0, 2)),
        ),
        (
            "`[DONE]` without its blank line",
            "done_one_newline.sse",
            Ok(said("one")),
        ),
        (
            "no `[DONE]` after a finish reason",
            "no_done.sse",
            Ok(undone(said("whole"))),
        ),
        (
            "the finish reason in an event without a line end",
            "finish_unterminated.sse",
            Ok(undone(said("to the brim"))),
        ),
        (
            "neither `[DONE]` nor a finish reason",
            "litellm_cut.sse",
            cut("the stream ended after 11 bytes of text without a finish reason"),
        ),
        (
            "cut inside an event",
            "cut_in_event.sse",
            cut("the stream was cut in the middle of an event"),
        ),
        ("`[DONE]` after nothing", "vllm_empty.sse", empty.clone()),
        ("`[DONE]` after a role", "role_then_done.sse", empty),
        (
            "`[DONE]` after text without a finish reason",
            "done_without_finish.sse",
            Ok(unreasoned("half")),
        ),
    ]
}

/// An error of the server that waiting may cure, inside an HTTP 200.
const fn server(status: u16, message: &'static str) -> Result<Answer, Fault> {
    Err((Server, Retry, Some(status), message))
}

/// Errors inside an HTTP 200 are judged as HTTP errors are.
fn error_objects() -> Vec<Row> {
    vec![
        (
            "`data: {error}`, OpenAI",
            "openai_error.sse",
            server(
                200,
                "an error inside an HTTP 200 (server_error): The server had an error",
            ),
        ),
        (
            "`data: {error}`, SGLang",
            "sglang_error.sse",
            server(
                500,
                "an error inside an HTTP 200 (InternalServerError, 500): The request was aborted by the scheduler",
            ),
        ),
        (
            "`data: {error}`, llama.cpp",
            "llamacpp_error.sse",
            Err((
                ContextLength,
                Elsewhere,
                Some(400),
                "an error inside an HTTP 200 (exceed_context_size_error, 400): the request exceeds the available \
                 context size, try increasing it",
            )),
        ),
        (
            "`data: {error}` beside choices, OpenRouter; a numeric code",
            "openrouter_error.sse",
            server(502, "an error inside an HTTP 200 (502): Provider disconnected"),
        ),
        (
            "`data: {error}` with code 429, OpenRouter",
            "openrouter_rate_limit.sse",
            Err((
                RateLimited,
                Pause,
                Some(429),
                "an error inside an HTTP 200 (429): Provider returned error: m-1 is temporarily rate-limited upstream",
            )),
        ),
        (
            "`data: {error}` and `[DONE]`, vLLM",
            "vllm_error_nested.sse",
            server(
                500,
                "an error inside an HTTP 200 (InternalServerError, 500): Internal server error",
            ),
        ),
        (
            "`data: {error}` with a billing code",
            "quota_in_stream.sse",
            Err((
                Quota,
                Latch,
                Some(200),
                "an error inside an HTTP 200 (insufficient_quota): You exceeded your current quota, please check \
                 your plan and billing details.",
            )),
        ),
        (
            "a code that is a number in quotes",
            "error_code_text.sse",
            server(502, "an error inside an HTTP 200 (502): Upstream error"),
        ),
        (
            "`error` is a string",
            "error_string.sse",
            server(200, "an error inside an HTTP 200: upstream connect error"),
        ),
    ]
}

/// Errors that are not an `error` object under `data`, or that stand in an unusual place.
fn errors_in_other_dress() -> Vec<Row> {
    vec![
        (
            "`object: error`, older vLLM",
            "vllm_error.sse",
            Err((
                ContextLength,
                Elsewhere,
                Some(400),
                "an error inside an HTTP 200 (BadRequestError, 400): This model's maximum context length is 4096 \
                 tokens. However, you requested 5000 tokens.",
            )),
        ),
        (
            "`object: error` without a code",
            "object_error_bare.sse",
            Err((
                ContextLength,
                Elsewhere,
                Some(200),
                "an error inside an HTTP 200 (BadRequestError): This model's maximum context length is 4096 tokens.",
            )),
        ),
        (
            "an SSE field `error:`, llama.cpp until 2025",
            "llamacpp_error_field.sse",
            server(
                500,
                "an error inside an HTTP 200 (server_error, 500): Failed to parse input",
            ),
        ),
        (
            "`event: error`, Anthropic's dress",
            "event_error.sse",
            server(200, "an error inside an HTTP 200 (overloaded_error): Overloaded"),
        ),
        (
            "`event: error`, no JSON",
            "event_error_plain.sse",
            server(
                200,
                "an error inside an HTTP 200: upstream connect error, reset before headers",
            ),
        ),
        (
            "`event: error`, JSON without an error in it",
            "event_error_unnamed_object.sse",
            server(200, "an error inside an HTTP 200: upstream gone"),
        ),
        (
            "`event: error`, Responses API",
            "responses_error.sse",
            Err((
                RateLimited,
                Pause,
                Some(200),
                "an error inside an HTTP 200 (rate_limit_exceeded): Rate limit reached. Please try again in 2s.",
            )),
        ),
        (
            "`type: error` without an event name",
            "anthropic_error_unnamed.sse",
            server(200, "an error inside an HTTP 200 (overloaded_error): Overloaded"),
        ),
        (
            "an error in the choice",
            "choice_error.sse",
            server(502, "an error inside an HTTP 200 (502): Provider disconnected"),
        ),
        (
            "an error after the finish reason",
            "error_after_finish.sse",
            Err((
                ContentFilter,
                Elsewhere,
                Some(200),
                "an error inside an HTTP 200 (invalid_request_error, content_filter): The content was filtered",
            )),
        ),
        (
            "a bare JSON object in place of events",
            "bare_json_error.sse",
            server(200, "an error inside an HTTP 200 (server_error): upstream gone"),
        ),
    ]
}

/// HTTP 200 whose body is not a stream.
fn instead_of_a_stream() -> Vec<Row> {
    let whole = Answer {
        id: Some("chatcmpl-7".to_owned()),
        ..billed("plain", 31, 16, 9)
    };
    vec![
        ("JSON answer", "200_openai.http", Ok(whole)),
        (
            "JSON error, numeric code",
            "200_openrouter_error.http",
            Err((
                BadRequest,
                Latch,
                Some(404),
                "an error inside an HTTP 200 (404): No endpoints found",
            )),
        ),
        (
            "JSON `object: error`",
            "200_vllm_error.http",
            Err((
                BadRequest,
                Latch,
                Some(404),
                "an error inside an HTTP 200 (NotFoundError, 404): The model `m-9` does not exist.",
            )),
        ),
        (
            "JSON that was cut",
            "200_cut_json.http",
            Err((
                Network,
                Retry,
                None,
                "the answer was cut in the middle of its JSON",
            )),
        ),
        (
            "HTML",
            "200_html.http",
            Err((
                Server,
                Retry,
                Some(200),
                "an error inside an HTTP 200: HTML page, title `Sign in`",
            )),
        ),
        (
            "events labelled as JSON",
            "200_mislabelled_stream.http",
            Ok(said("a stream")),
        ),
    ]
}
