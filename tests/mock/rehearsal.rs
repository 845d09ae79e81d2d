//! A rehearsal of several steps: a plan, then the items of each task.

use nova3::mock::{MockConfig, prompt_id};
use serde_json::{Value, json};

use super::harness::{Harness, harness, prompt, with};

const QUERY: &str = "为儿童防晒霜写一条抖音脚本，突出轻薄不油腻";

/// Returns the answer to a prompt whose parts stand under headings and between fences, and the marker of that prompt.
async fn made(harness: &Harness, parts: &[(&str, &str)], name: &str, schema: &Value) -> (Value, String) {
    let parts = parts
        .iter()
        .map(|(name, text)| format!("# {name}\n<<<{name}\n{text}\n{name}>>>\n"));
    let format = json!({"type": "json_schema", "json_schema": {"name": name, "schema": schema}});
    let body = with(
        prompt(&parts.collect::<String>()),
        &json!({ "response_format": format }),
    );
    let whole = harness.json(&body).await;
    let text = whole["choices"][0]["message"]["content"].as_str();
    let marker = format!("[mock {}]", &prompt_id(&body["messages"])[..8]);
    (
        serde_json::from_str(text.expect("content")).expect("JSON"),
        marker,
    )
}

fn list_of(name: &str, properties: &Value) -> Value {
    let required: Vec<_> = properties.as_object().expect("properties").keys().collect();
    let item = json!({"type": "object", "required": required, "properties": properties});
    json!({"type": "object", "required": [name], "properties": {name: {"type": "array", "items": item}}})
}

fn plans() -> Value {
    let actions = [
        "insight",
        "profile",
        "hitpoint",
        "facts",
        "xhs_writing",
        "tiktok_script",
        "wechat_article",
        "answer",
    ];
    let text = json!({"type": "string"});
    list_of(
        "tasks",
        &json!({"action": {"enum": actions}, "description": text, "input": text}),
    )
}

fn items() -> Value {
    let text = json!({"type": "string"});
    list_of(
        "items",
        &json!({"title": text, "content": text, "tags": {"type": "array", "items": text},
            "source": {"type": ["string", "null"]}}),
    )
}

#[tokio::test]
async fn each_step_keeps_to_the_subject_and_names_its_own_prompt() {
    let harness = harness(MockConfig::default()).await;
    let planned = made(&harness, &[("query", QUERY)], "supervisor", &plans()).await;
    assert_eq!(
        planned,
        made(&harness, &[("query", QUERY)], "supervisor", &plans()).await
    );
    let (plan, marker) = planned;
    assert_eq!(plan.to_string().matches(&marker).count(), 1, "{plan}");
    let tasks = plan["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.last().expect("a task")["action"], "tiktok_script");

    let mut results = String::new();
    for task in tasks {
        let action = task["action"].as_str().expect("an action");
        let input = task["input"].as_str().expect("an input");
        // The query is not in this prompt: the step knows the subject from the instruction of the plan.
        let parts = [("results", results.as_str()), ("task", input)];
        let (step, marker) = made(&harness, &parts, action, &items()).await;
        let all = step.to_string();
        assert!(
            all.matches("[mock ").count() == 1 && all.contains(&marker),
            "{marker} {all}"
        );
        for (i, item) in step["items"].as_array().expect("items").iter().enumerate() {
            let content = item["content"].as_str().expect("a text");
            assert!(content.contains(QUERY), "{content}");
            results += &format!("{action}{} {content}\n", i + 1);
        }
    }
}
