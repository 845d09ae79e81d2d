//! Behaviour that only one server has; errors stand in `refusals`.

use super::{Row, billed, hold, said, unreasoned};
use nova3::domain::failure::Class::ContentFilter;
use nova3::domain::failure::Verdict::Final;
use nova3::llm::Answer;

#[test]
fn each_server_is_understood() {
    hold(&rows());
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "DeepSeek: blank lines before the JSON; reasoning beside the content",
            "200_deepseek_waited.http",
            Ok(Answer {
                id: Some("d".to_owned()),
                reasoning_chars: 1,
                ..said("答")
            }),
        ),
        (
            "DeepSeek: prompt_cache_hit_tokens",
            "deepseek.sse",
            Ok(Answer {
                reasoning_chars: 4,
                ..billed("答案", 100, 64, 20)
            }),
        ),
        ("llama.cpp: timings", "llamacpp.sse", Ok(billed("Hi", 8, 0, 2))),
        (
            "Ollama: a blank finish reason",
            "ollama_old.sse",
            Ok(unreasoned("Guten Tag")),
        ),
        (
            "Mistral: content in parts",
            "200_mistral_parts.http",
            Ok(Answer {
                id: Some("p".to_owned()),
                model: None,
                ..said("left right")
            }),
        ),
        (
            "OpenAI: a refusal in a whole answer",
            "200_openai_refusal.http",
            Err((ContentFilter, Final, None, "the model refused: No.")),
        ),
    ]
}
