//! Every prompt equals its snapshot: a request with content in every field, through each agent and the supervisor.

use crate::cli::harness::{Harness, lines};
use crate::cli::model::{ACTIONS, good, setup_saying};

const BEFORE: &str = r#"{"custom_id":"before","session_id":"s","query":"先看市场","tasks":["insight","insight","profile"]}
{"custom_id":"after","session_id":"s","query":"再找角度","tasks":["hitpoint"]}
"#;

const FULL: &str = r#"{"custom_id":"ID","session_id":"s","query":"结合@profile1写一篇",TASKS"background":{"account_name":"美妆研究室","platform":"小红书","target_audience":"通勤女性","industry":"美妆","brand_style":"亲切","previous_content":["旧文一","旧文二"]},"interaction_context":{"season":"春"},"nova3_selections":{"nova3_insight":[{"id":"insight1","content":"油皮怕被看见补妆","selected":true,"user_comment":"再具体些"},{"id":"insight2","content":"没有选中的内容","selected":false,"user_comment":"太泛"}],"nova3_xhs_post":[{"id":"xhs_post7","title":"旧笔记","content":"旧正文","selected":true}],"task_context":"别硬广"},"references":["@profile1","@fact9"]}
"#;

/// The prompts of a request, each with its heading.
fn prompts(harness: &Harness, id: &str) -> Vec<String> {
    let shown = harness.nova3(&["plan", "in.jsonl", "--show-prompt", id]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let mut prompts: Vec<String> = Vec::new();
    for part in shown.out.split("=== ").skip(1) {
        match prompts.last_mut() {
            Some(prompt) if !part.contains("· system ===") => *prompt += &format!("=== {part}"),
            _ => prompts.push(format!("=== {part}")),
        }
    }
    prompts
}

/// The part of a prompt that is the same for every request.
fn system(prompt: &str) -> &str {
    let (_, text) = prompt.split_once("· system ===\n").unwrap();
    text.split_once("\n\n=== ").unwrap().0
}

#[test]
fn every_prompt_of_a_request_with_everything() {
    let (harness, model) = setup_saying(good);
    let tasks = format!(
        "\"until\":\"insight\",\"tasks\":{},",
        serde_json::to_string(&ACTIONS).unwrap()
    );
    let full = FULL.replace("ID", "full").replace("TASKS", &tasks);
    let plain = full
        .replace("\"full\"", "\"plain\"")
        .replace("\"s\"", "\"other\"");
    harness.write(
        "in.jsonl",
        [
            BEFORE,
            &full,
            &FULL.replace("ID", "open").replace("TASKS", ""),
            &plain,
        ]
        .concat(),
    );
    // The request `open` would be planned, so only the lines before it are run.
    harness.write("first.jsonl", [BEFORE, &full].concat());
    let ran = harness.nova3(&["run", "first.jsonl", "--run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(lines(&ran.out)[2]["status"], "paused");
    let sent = model.bodies().len();

    let shown = prompts(&harness, "full");
    assert_eq!(shown.len(), ACTIONS.len());
    for (action, prompt) in ACTIONS.iter().zip(&shown) {
        insta::assert_snapshot!(format!("prompt_{action}"), prompt);
    }
    let open = prompts(&harness, "open");
    insta::assert_snapshot!("prompt_supervisor", open[0]);
    assert_eq!(open.len(), 1);
    // The static part comes first, and does not depend on the request or its session.
    let other = prompts(&harness, "plain");
    for (one, another) in shown.iter().zip(&other) {
        assert_eq!(system(one), system(another));
    }
    assert_eq!(model.bodies().len(), sent);
}

#[test]
fn what_is_shown_is_what_is_sent() {
    let (harness, model) = setup_saying(good);
    harness.write(
        "in.jsonl",
        FULL.replace("ID", "full")
            .replace("TASKS", "\"tasks\":[\"insight\"],"),
    );
    let shown = prompts(&harness, "full");
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let call = crate::cli::model::calls(&model).remove(0);
    assert_eq!(system(&shown[0]), call.system());
    let (_, user) = shown[0].split_once("· user ===\n").unwrap();
    assert_eq!(user.split("\n\n=== ").next(), Some(call.user()));
}
