//! The context of a task: all texts of its own queue and session that it builds on, and no text of another session.

use serde_json::{Value, json};

use super::form::Form;
use super::harness::Scenario;
use super::input;
use super::store::Item;
use crate::support::evidence::Call;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// Each session has a word that is in all its texts and in no others. The mock's answers repeat it.
const WORDS: [&str; 5] = ["apricot", "bergamot", "cardamom", "damson", "elderberry"];

/// The queue of four tasks.
const ACTIONS: [&str; 4] = ["insight", "profile", "hitpoint", "xhs_writing"];

/// The instruction of task `task` in a session's queue of four.
fn instruction(word: &str, task: usize) -> String {
    format!("instruction {task} about {word}")
}

/// A first round that leaves items behind.
fn first(word: &str) -> Value {
    json!({"custom_id": format!("{word}-1"), "session_id": word, "query": format!("first question about {word}"),
        "tasks": ["insight", "profile"]})
}

/// The queue of four tasks, with a selection, comments and a reference.
fn second(word: &str) -> Value {
    let tasks = (0..).zip(ACTIONS);
    let tasks: Vec<Value> = tasks
        .map(|(task, action)| json!({"action": action, "input": instruction(word, task)}))
        .collect();
    json!({"custom_id": format!("{word}-2"), "session_id": word, "query": format!("second question about {word}"),
    "interaction_type": "nova3_select", "references": ["@profile1"], "tasks": tasks,
    "background": {"account_name": format!("account of {word}")},
    "nova3_selections": {
        "nova3_insight": [
            {"id": "insight1", "content": format!("chosen: {word}"), "selected": true,
                "user_comment": format!("praise of {word}")},
            {"id": "insight2", "content": format!("left: {word}"), "selected": false,
                "user_comment": format!("blame of {word}")},
        ],
        "task_context": format!("purpose of {word}"),
    }})
}

/// A text as a prompt contains it.
fn fenced(name: &str, text: &str) -> String {
    format!("<<<{name}\n{text}\n{name}>>>")
}

/// Returns the prompt's text about an item, if there is one.
fn told<'p>(prompt: &'p str, id: &str) -> Option<&'p str> {
    let rest = prompt.split_once(&format!("<<<{id}\n"))?.1;
    Some(rest.split_once(&format!("\n{id}>>>"))?.0)
}

/// Oracle `told`: the prompt contains every text of the stored item, under its id. Its basis is no text.
fn holds(prompt: &str, item: &Item, asks: &str) {
    let id = item.id();
    let Some(part) = told(prompt, &id) else {
        panic!("oracle `told`: {asks} is not told of {id}");
    };
    let body: Value = serde_json::from_str(&item.body).expect("an item is JSON");
    let body = body.as_object().expect("an item is an object");
    let fields = body.iter().filter(|(field, _)| *field != "basis");
    let mut texts = fields.flat_map(|(_, value)| texts_of(value));
    assert!(
        texts.clone().next().is_some() && texts.all(|text| part.contains(text)),
        "oracle `told`: {asks} is told of {id} otherwise than it is stored: {part}"
    );
}

fn texts_of(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(texts_of).collect(),
        _ => Vec::new(),
    }
}

/// Oracle `apart`: the prompt contains the word of one session and no other. Returns that word.
fn owner(call: &Call) -> &'static str {
    let named: Vec<&str> = WORDS
        .into_iter()
        .filter(|word| call.question.contains(word))
        .collect();
    let [word] = named[..] else {
        panic!("oracle `apart`: one prompt holds words of {named:?}");
    };
    word
}

/// Judges the prompt of a task of a queue of four.
fn judge(call: &Call, word: &str, task: usize, items: &[&Item], queue: i64) {
    let asks = instruction(word, task);
    let text = &call.question;
    for (name, said) in [
        ("任务", asks.clone()),
        ("需求", format!("second question about {word}")),
        ("任务说明", format!("purpose of {word}")),
        ("背景.账号名称", format!("account of {word}")),
        ("insight1", format!("chosen: {word}")),
        ("insight1.意见", format!("praise of {word}")),
        ("insight2.意见", format!("blame of {word}")),
        ("前情1.需求", format!("first question about {word}")),
    ] {
        assert!(
            text.contains(&fenced(name, &said)),
            "oracle `told`: {asks} is not told {said}"
        );
    }
    assert!(
        !text.contains(&format!("left: {word}")),
        "oracle `told`: {asks} is told what was not chosen"
    );
    for item in items {
        let earlier = item.queue == queue && item.task < task;
        let referred = item.id() == "profile1";
        if earlier || referred {
            holds(text, item, &asks);
        }
        assert!(
            item.queue != queue || earlier || told(text, &item.id()).is_none(),
            "oracle `told`: {asks} is told of {} before it was made",
            item.id()
        );
    }
}

#[test]
fn a_task_is_told_what_it_builds_on_and_nothing_of_others() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("context", form);
    let second = WORDS.iter().map(|word| second(word));
    let lines: Vec<Value> = WORDS.iter().map(|word| first(word)).chain(second).collect();
    input::store_values(&scenario.path("in.jsonl"), &lines);
    scenario.grind(&RUN, WORDS.len() * 6, form.kills);
    let ended = scenario.nova3(&RUN);
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);

    let calls = scenario.mock.calls();
    let store = scenario.store().expect("there is a store");
    let (items, queues) = (store.items(), store.queues());
    let mut judged = 0;
    // All prompts are looked at for words of others before the first one is judged. The order of calls differs from run
    // to run, and each fault must be found by one oracle.
    let words: Vec<&str> = calls.iter().map(owner).collect();
    for (call, word) in calls.iter().zip(words) {
        let ours: Vec<&Item> = items.iter().filter(|item| item.session == word).collect();
        let queue = queues[&format!("{word}-2")];
        let asked = (0..ACTIONS.len())
            .find(|task| call.question.contains(&fenced("任务", &instruction(word, *task))));
        if let Some(task) = asked {
            judge(call, word, task, &ours, queue);
            judged += 1;
        }
    }
    assert!(
        judged >= WORDS.len() * ACTIONS.len(),
        "oracle `told`: only {judged} calls of tasks were seen"
    );
    println!(
        "crash-test: context: {} sessions, {} kills, {} calls, {judged} of them judged by their prompts",
        WORDS.len(),
        scenario.account.kills,
        calls.len()
    );
}
