//! Every prompt equals its snapshot: a request with content in every field, through each agent and the supervisor.

use crate::cli::harness::{Harness, lines};
use crate::cli::model::{ACTIONS, good, setup_saying};

const BEFORE: &str = r#"{"custom_id":"before","session_id":"s","query":"先看市场","tasks":["insight","insight","profile"]}
{"custom_id":"after","session_id":"s","query":"再找角度","tasks":["hitpoint"]}
"#;

const FULL: &str = r#"{"custom_id":"ID","session_id":"s","query":"结合@profile1写一篇",TASKS"background":{"account_name":"美妆研究室","platform":"小红书","target_audience":"通勤女性","industry":"美妆","brand_style":"亲切","previous_content":["旧文一","旧文二"],"product":{"name":"控油散粉","points":["定妆八小时","不卡粉"],"price":"89 元","proof":["检测报告 2026-03"],"must_say":["早八不脱妆"],"must_not_say":["永久"]}},"interaction_context":{"season":"春"},"nova3_selections":{"nova3_insight":[{"id":"insight1","content":"油皮怕被看见补妆","selected":true,"user_comment":"再具体些"},{"id":"insight2","content":"没有选中的内容","selected":false,"user_comment":"太泛"}],"nova3_xhs_post":[{"id":"xhs_post7","title":"旧笔记","content":"旧正文","selected":true}],"task_context":"别硬广"},"references":["@profile1","@fact9"]}
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

#[test]
fn the_prompt_of_an_english_question_holds_no_chinese() {
    let is_chinese =
        |c: char| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}');
    let (harness, model) = setup_saying(good);
    let full = r#"{"custom_id":"full","session_id":"s","query":"Which title is better?","tasks":[{"action":"answer","input":"Compare them."}],"background":{"account_name":"Tea","platform":"web","previous_content":["old"],"product":{"name":"Cold brew","points":["no sugar"],"price":"$3","proof":["a test"],"must_say":["cold"],"must_not_say":["cure"]}},"interaction_context":{"season":"spring"},"nova3_selections":{"nova3_insight":[{"id":"insight1","content":"one","user_comment":"shorter"},{"id":"insight2","content":"two","selected":false,"user_comment":"dull"}],"task_context":"be kind"},"references":["@answer1"]}"#;
    let plain = r#"{"custom_id":"plain","session_id":"s","query":"What is a lease?","interaction_type":"quick_suggestion"}"#;
    let chinese = r#"{"custom_id":"chinese","query":"租约是什么？","interaction_type":"quick_suggestion"}"#;
    harness.write("in.jsonl", [plain, full, chinese].join("\n"));
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let calls = crate::cli::model::calls(&model);
    let call = |question: &str| {
        let found = calls.iter().find(|call| call.user().contains(question));
        found.unwrap_or_else(|| panic!("no call with {question}"))
    };
    for question in ["What is a lease?", "Compare them."] {
        let body = call(question).body().to_string();
        assert!(!body.contains(is_chinese), "{body}");
    }
    assert_eq!(
        call("What is a lease?").user(),
        "# Question\n\n<<<Question\nWhat is a lease?\nQuestion>>>"
    );
    let full = call("Compare them.").user();
    for part in [
        "# Earlier_rounds\n\n<<<Earlier_rounds1.Request\nWhat is a lease?\n",
        "# References\n\n<<<answer1\n",
        "<<<Background.account_name\nTea\n",
        "# Product\n\n<<<Product.name\nCold brew\n",
        "<<<Product.must_not_say1\ncure\n",
        "<<<Published1\nold\n",
        "# Context\n\n<<<Context\n{\"season\":\"spring\"}\n",
        "# Chosen_items\n\n<<<insight1\none\ninsight1>>>\n<<<insight1.comment\nshorter\n",
        "# Comments_on_other_items\n\n<<<insight2.comment\ndull\n",
        "# Instructions\n\n<<<Instructions\nbe kind\n",
        "# Request\n\n<<<Request\nWhich title is better?\n",
    ] {
        assert!(full.contains(part), "{part}\n{full}");
    }
    let chinese = call("租约是什么？");
    assert!(
        chinese
            .user()
            .contains("# 任务\n\n<<<任务\n租约是什么？\n任务>>>")
    );
    assert!(chinese.system().starts_with("你回答一个读者的问题"));
}
