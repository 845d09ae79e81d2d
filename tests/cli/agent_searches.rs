//! The search of an agent, as its file describes it: its queries, its chain, and the pages that it reads.

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::{Harness, setup, setup_with};
use crate::cli::provider::{Say, Scripted};
use crate::cli::searches::with_web;

/// Replaces the table `[search]` of the agent `facts` by these lines.
fn with_spec(harness: &Harness, spec: &str) {
    write_agent(harness, spec);
    let settings = harness.read("nova3.toml") + "[agents]\nfolder = \"agents\"\n";
    harness.write("nova3.toml", settings);
}

fn write_agent(harness: &Harness, spec: &str) {
    let file = include_str!("../../agents/facts.toml");
    let (before, _) = file.split_once("[search]").unwrap();
    std::fs::create_dir_all(harness.path("agents")).unwrap();
    harness.write("agents/facts.toml", format!("{before}[search]\n{spec}\n"));
}

fn write_line(harness: &Harness, query: &str) {
    let line = json!({"custom_id": "a", "query": query, "tasks": ["facts"]});
    harness.write("in.jsonl", format!("{line}\n"));
}

/// Runs the line. Returns its only task and its warnings.
fn ran(harness: &Harness) -> (Value, Value) {
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let line = harness.results("out.jsonl").remove(0);
    (line["tasks"][0].clone(), line["warnings"].clone())
}

fn queries(task: &Value) -> Vec<&str> {
    let queries = task["search"]["queries"].as_array().unwrap().iter();
    queries.map(|query| query["query"].as_str().unwrap()).collect()
}

#[test]
fn a_model_writes_the_queries_with_one_call() {
    let (harness, provider) = setup_with(MockConfig::default());
    with_web(&harness, &provider.base_url(), "0");
    with_spec(&harness, "ask = true");
    let query = "为燕麦奶写一套内容，先核实它的热量和价格，再列出可以用的事实，最后说明每一条从哪里来";
    write_line(&harness, query);
    let (task, warnings) = ran(&harness);
    let written = queries(&task);
    assert_eq!(
        (provider.calls(), warnings),
        (2, json!([])),
        "one call writes, one lists facts"
    );
    assert!((1..=3).contains(&written.len()), "{written:?}");
    assert!(!written.contains(&query), "{written:?}");
    assert_eq!(provider.stats().searches, written.len() as u64);
    let found: Vec<&Value> = task["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["id"])
        .collect();
    assert_eq!(found[0], "s1");
    assert_eq!(
        found.len(),
        5 * written.len(),
        "each query has sources of its own"
    );
}

#[test]
fn without_queries_of_a_model_the_template_gives_one() {
    let model = Scripted::start(|body| {
        let content = if body.contains("写搜索词") {
            "I would rather not.".to_owned()
        } else {
            json!({"items": [{"content": "c", "source": null, "quote": null}]}).to_string()
        };
        let answer = json!({
            "id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
        });
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: answer.to_string(),
        }
    });
    let search = search_saying("oats");
    let harness = setup()
        .with("OPENAI_BASE_URL", &model.base_url())
        .with("OPENAI_MODEL", "m");
    with_web(&harness, &search.base_url(), "0");
    with_spec(&harness, "ask = true\nquery = \"{{ query }} 价格\"");
    write_line(&harness, "燕麦奶 @insight1");
    let (task, warnings) = ran(&harness);
    assert_eq!(
        queries(&task),
        ["燕麦奶 价格"],
        "a reference is no word of a query"
    );
    assert!(
        warnings.to_string().contains("the model wrote no search query"),
        "{warnings}"
    );
    assert_eq!(model.bodies().len(), 3, "a query call, its repair, and the facts");
}

fn search_saying(text: &str) -> Scripted {
    let found = json!({"code": 200, "data": [
        {"title": "t", "url": "http://127.0.0.1:9/page", "content": text},
    ]});
    Scripted::start(move |_| Say {
        status: 200,
        headers: "",
        body: found.to_string(),
    })
}

#[test]
fn an_agent_has_a_chain_of_its_own() {
    let (harness, provider) = setup_with(MockConfig::default());
    let other = search_saying("oats");
    with_web(&harness, &provider.base_url(), "0");
    let file = harness.read("providers/web.toml");
    let file = file.replace("name = \"web\"", "name = \"other\"");
    harness.write(
        "providers/other.toml",
        file.replace(&provider.base_url(), &other.base_url()),
    );
    with_spec(&harness, "providers = [\"other\"]\nresults = 3");
    write_line(&harness, "燕麦奶");
    let (task, _) = ran(&harness);
    assert_eq!(task["search"]["queries"][0]["provider"], "other");
    assert_eq!((provider.stats().searches, other.heads().len()), (0, 1));
    assert!(other.heads()[0].contains("limit=3"), "{:?}", other.heads());

    let wrong = setup()
        .with("OPENAI_API_KEY", "sk-none-of-the-tests")
        .with("OPENAI_MODEL", "m");
    with_spec(&wrong, "providers = [\"gogle\"]");
    write_line(&wrong, "燕麦奶");
    for command in [&["run", "in.jsonl"][..], &["check", "in.jsonl"]] {
        let ran = wrong.nova3(command);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(
            ran.err
                .contains("`search.providers` names `gogle`, which is no search provider"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_page_at_a_private_address_is_not_read_and_the_result_stays() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let search = search_saying("oats have 48 kcal");
    with_web(&harness, &search.base_url(), "0");
    with_spec(&harness, "read = 2");
    write_line(&harness, "oat milk");
    let (task, _) = ran(&harness);
    assert_eq!(
        (&task["degraded"], task["sources"].as_array().unwrap().len()),
        (&json!(false), 1)
    );
    assert_eq!(search.heads().len(), 1, "no page was asked for");
}

#[test]
fn a_mistake_in_the_table_names_its_line() {
    let harness = setup();
    with_spec(&harness, "read = 50");
    let ran = harness.nova3(&["agents", "list"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("facts.toml` line ") && ran.err.contains("`search.read` is 50, expected 0 to 5"),
        "{}",
        ran.err
    );
    write_agent(&harness, "query = \"{{ nonsense }}\"");
    let ran = harness.nova3(&["agents", "list"]);
    assert!(ran.err.contains("`search.query`: "), "{}", ran.err);
}
