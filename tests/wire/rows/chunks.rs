//! The meaning of the chunks of a stream.

use super::{Row, billed, ended, fixture, hold, said, undone, unreasoned};
use crate::wire::harness::answer;
use nova3::domain::failure::Class::{ContentFilter, Server};
use nova3::domain::failure::Verdict::{Elsewhere, Final, Retry};
use nova3::llm::{Answer, strip_think};

#[test]
fn chunks_mean_what_the_table_says() {
    hold(&rows());
}

pub(super) fn rows() -> Vec<Row> {
    [usages(), finishes(), deltas()].concat()
}

fn usages() -> Vec<Row> {
    vec![
        (
            "usage in an extra chunk with `choices: []`, null before",
            "openai.sse",
            Ok(billed("你好 world", 31, 16, 9)),
        ),
        (
            "`choices: null` on that chunk",
            "vllm_usage_null_choices.sse",
            Ok(billed("hi", 3, 0, 1)),
        ),
        (
            "no choices on that chunk",
            "usage_without_choices.sse",
            Ok(billed("hi", 3, 0, 1)),
        ),
        (
            "absent, for the stream was cut after its finish reason",
            "usage_cut_off.sse",
            Ok(undone(said("hi"))),
        ),
        (
            "usage on every chunk",
            "usage_every_chunk.sse",
            Ok(billed("ab", 3, 0, 2)),
        ),
        (
            "usage on every chunk, null on one, more in the last",
            "cumulative_usage.sse",
            Ok(billed("ab", 3, 0, 3)),
        ),
        ("usage where only Groq puts it", "groq.sse", Ok(said("fast"))),
    ]
}

fn finishes() -> Vec<Row> {
    let broken = |message| Err((Server, Retry, None, message));
    let filtered = Err((
        ContentFilter,
        Elsewhere,
        None,
        "the provider's content filter stopped the answer",
    ));
    vec![
        ("stop", "openai.sse", Ok(billed("你好 world", 31, 16, 9))),
        ("length", "openai_length.sse", Ok(ended("cut sho", "length"))),
        (
            "length before any text",
            "length_with_reasoning_only.sse",
            Ok(Answer {
                reasoning_chars: 3,
                reasoning: "hmm".to_owned(),
                finish_reason: "length".to_owned(),
                ..billed("", 5, 0, 3)
            }),
        ),
        ("tool_calls", "openai_tool_calls.sse", Ok(ended("", "tool_calls"))),
        (
            "function_call",
            "finish_function_call.sse",
            Ok(ended("", "function_call")),
        ),
        ("content_filter", "openai_content_filter.sse", filtered.clone()),
        (
            "content_filter in a choice without delta, Azure",
            "azure_filtered.sse",
            filtered,
        ),
        (
            "blank in every chunk, old Ollama",
            "ollama_old.sse",
            Ok(unreasoned("Guten Tag")),
        ),
        (
            "error, OpenRouter",
            "finish_error.sse",
            broken("the server broke off the answer (finish reason `error`)"),
        ),
        (
            "insufficient_system_resource, DeepSeek",
            "finish_insufficient_resource.sse",
            broken("the server broke off the answer (finish reason `insufficient_system_resource`)"),
        ),
        (
            "abort, vLLM",
            "finish_abort.sse",
            broken("the server broke off the answer (finish reason `abort`)"),
        ),
        (
            "end_turn, litellm",
            "finish_end_turn.sse",
            Ok(ended("tool-free", "end_turn")),
        ),
        (
            "an unknown reason",
            "finish_unknown.sse",
            Ok(ended("new word", "new_reason")),
        ),
        (
            "refusal",
            "openai_refusal.sse",
            Err((ContentFilter, Final, None, "the model refused: I cannot help.")),
        ),
    ]
}

fn deltas() -> Vec<Row> {
    let reasoned = |chars, answer| {
        Ok(Answer {
            reasoning_chars: chars,
            ..answer
        })
    };
    vec![
        (
            "first a role alone, content null",
            "llamacpp.sse",
            Ok(billed("Hi", 8, 0, 2)),
        ),
        (
            "first a role alone, content blank",
            "openai.sse",
            Ok(billed("你好 world", 31, 16, 9)),
        ),
        ("a lone space is a token", "lone_space.sse", Ok(said("a b"))),
        (
            "tool_calls are passed over",
            "openai_tool_calls.sse",
            Ok(ended("", "tool_calls")),
        ),
        (
            "a second choice is not ours",
            "second_choice.sse",
            Ok(said("mine")),
        ),
        (
            "`delta: []`, PHP for `{}`",
            "php_empty_delta.sse",
            Ok(said("php")),
        ),
        (
            "reasoning_content",
            "deepseek.sse",
            reasoned(4, billed("答案", 100, 64, 20)),
        ),
        (
            "reasoning, and chunks after the finish reason",
            "openrouter.sse",
            reasoned(
                2,
                Answer {
                    id: Some("gen-1".to_owned()),
                    ..billed("ok", 5, 0, 2)
                },
            ),
        ),
        (
            "the same reasoning under both names",
            "reasoning_twice.sse",
            reasoned(1, said("x")),
        ),
        (
            "reasoning inline",
            "think_inline.sse",
            Ok(said("<think>\n想一想 {\"a\":1}</think>\n\n答")),
        ),
        (
            "no choices, no delta, blank names: Azure",
            "azure.sse",
            Ok(said("Bonjour")),
        ),
    ]
}

#[test]
fn inline_reasoning_is_no_part_of_what_is_read() {
    let answer = answer(&fixture("think_inline.sse")).expect("an answer");
    assert_eq!(strip_think(&answer.text), "答");
}
