//! A rehearsal of several steps: a plan, then the items of each task, made from what came before.

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use super::{Bench, bench, prompt, with};

const QUERY: &str = "为儿童防晒霜写一篇小红书笔记，突出轻薄不油腻";

/// The answer to a prompt whose parts stand under headings and between fences.
async fn made(bench: &Bench, parts: &[(&str, &str)], schema: &Value) -> Value {
    let parts = parts
        .iter()
        .map(|(name, text)| format!("# {name}\n<<<{name}\n{text}\n{name}>>>\n"));
    let format = json!({"type": "json_schema", "json_schema": {"name": "made", "schema": schema}});
    let body = with(
        prompt(&parts.collect::<String>()),
        &json!({ "response_format": format }),
    );
    let whole = bench.json(&body).await;
    let text = whole["choices"][0]["message"]["content"].as_str();
    serde_json::from_str(text.expect("content")).expect("JSON")
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
async fn each_step_builds_on_the_ones_before() {
    let bench = bench(MockConfig::default()).await;
    let plan = made(&bench, &[("query", QUERY)], &plans()).await;
    assert_eq!(plan, made(&bench, &[("query", QUERY)], &plans()).await);
    let tasks = plan["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.last().expect("a task")["action"], "xhs_writing");

    let mut results = String::new();
    for task in tasks {
        let input = task["input"].as_str().expect("an input");
        let parts = [("query", QUERY), ("results", &results), ("task", input)];
        let step = made(&bench, &parts, &items()).await;
        let all = step.to_string();
        assert!(all.contains("儿童防晒霜") || all.contains("轻薄不油腻"), "{all}");
        assert_eq!(all.matches("[mock ").count(), 1, "{all}");
        for (i, item) in step["items"].as_array().expect("items").iter().enumerate() {
            let source = &item["source"];
            let known = source
                .as_str()
                .is_none_or(|id| id == "需求" || results.contains(id));
            assert!(known, "{source} of {results}");
            let (action, content) = (task["action"].as_str(), item["content"].as_str());
            let (action, content) = (action.expect("an action"), content.expect("a text"));
            results += &format!("{action}{} {content}\n", i + 1);
        }
    }
}
