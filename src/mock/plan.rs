//! Plans: lists of tasks. A list is a plan if its items have an `action` with an enumeration.

use super::topic::Topic;

/// The action that answers the question directly. A plan does not combine it with other actions.
const AT_ONCE: &str = "answer";

/// Names of outlets in lower case, each with the action that writes for it.
const OUTLETS: [(&str, &str); 8] = [
    ("小红书", "xhs_writing"),
    ("rednote", "xhs_writing"),
    ("抖音", "tiktok_script"),
    ("短视频", "tiktok_script"),
    ("tiktok", "tiktok_script"),
    ("公众号", "wechat_article"),
    ("微信", "wechat_article"),
    ("wechat", "wechat_article"),
];

/// Returns at most `most` of the actions in their order. The last one writes for the outlet that the prompt names last.
pub(crate) fn actions<'c>(choices: &[&'c str], topic: &Topic<'_>, most: usize) -> Vec<&'c str> {
    if choices.is_empty() {
        return Vec::new();
    }
    let asked = outlet_action(choices, topic.prompt);
    let others = choices.iter().copied();
    let others = others.filter(|&action| action != AT_ONCE && Some(action) != asked);
    let mut plan: Vec<&str> = others
        .take(most.saturating_sub(usize::from(asked.is_some())))
        .collect();
    plan.extend(asked);
    if plan.is_empty() {
        plan.extend(choices.first());
    }
    plan.truncate(most);
    plan
}

/// Returns the action whose outlet the prompt names last.
fn outlet_action<'c>(choices: &[&'c str], prompt: &str) -> Option<&'c str> {
    let prompt = prompt.to_lowercase();
    let named = OUTLETS.iter().filter_map(|(name, action)| {
        let choice = choices.iter().find(|choice| *choice == action)?;
        // A name of an item, such as `tiktok_script1`, names no outlet.
        let is_outlet = |at: &usize| !prompt[at + name.len()..].starts_with('_');
        let at = prompt.rmatch_indices(name).map(|(at, _)| at).find(is_outlet)?;
        Some((at, *choice))
    });
    named.max().map(|(_, action)| action)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::schema::instance;
    use super::*;

    const ACTIONS: [&str; 8] = [
        "insight",
        "profile",
        "hitpoint",
        "facts",
        "xhs_writing",
        "tiktok_script",
        "wechat_article",
        "answer",
    ];

    fn plan(actions: &[&str], bounds: &Value, prompt: &str, draw: usize) -> Vec<Value> {
        let text = json!({"type": "string"});
        let task = json!({"type": "object", "required": ["action", "description", "input"],
            "properties": {"action": {"enum": actions}, "description": text, "input": text}});
        let mut list = json!({"type": "array", "items": task});
        for (key, bound) in bounds.as_object().into_iter().flatten() {
            list[key] = bound.clone();
        }
        let made = instance(&list, "supervisor", &Topic::of(prompt), "[mock 0000]", draw);
        made.as_array().expect("a list").clone()
    }

    fn names(plan: &[Value]) -> Vec<&str> {
        let actions = plan.iter().map(|task| task["action"].as_str());
        actions.map(|action| action.expect("an action")).collect()
    }

    #[test]
    fn a_plan_keeps_the_order_and_ends_in_the_outlet() {
        for draw in 0..4 {
            let plain = plan(&ACTIONS, &json!({}), "分析热泵与燃气锅炉", draw);
            assert!((4..=5).contains(&plain.len()));
            assert_eq!(names(&plain), ACTIONS[..plain.len()]);
            for (prompt, last) in [
                ("写一篇热泵的小红书笔记", "xhs_writing"),
                ("A RedNote post on heat pumps", "xhs_writing"),
                ("热泵先发公众号，再拍抖音口播", "tiktok_script"),
                ("heat pumps on TikTok", "tiktok_script"),
                ("热泵公众号长文", "wechat_article"),
                ("把@tiktok_script1改写成WeChat长文", "wechat_article"),
                ("为微信写，参考@tiktok_script1", "wechat_article"),
                (
                    "# 历史\n<<<历史\n上次写了公众号\n历史>>>\n# 任务\n<<<任务\n这次拍抖音\n任务>>>",
                    "tiktok_script",
                ),
            ] {
                let made = plan(&ACTIONS, &json!({}), prompt, draw);
                assert!((4..=5).contains(&made.len()));
                let (end, others) = made.split_last().expect("tasks");
                assert_eq!(end["action"], last, "{prompt}");
                assert_eq!(names(others), ACTIONS[..others.len()]);
            }
            let without = plan(&ACTIONS[..4], &json!({}), "拍热泵短视频", draw);
            assert_eq!(names(&without), ACTIONS[..4]);
        }
    }

    #[test]
    fn bounds_rule_and_an_answer_stands_alone() {
        let made = |actions: &[&str], bounds: Value| plan(actions, &bounds, "写小红书", 1);
        assert_eq!(names(&made(&ACTIONS, json!({"maxItems": 1}))), ["xhs_writing"]);
        assert_eq!(made(&ACTIONS, json!({"maxItems": 0})), Vec::<Value>::new());
        let seven = made(&ACTIONS, json!({"minItems": 7}));
        assert_eq!(seven.len(), 7);
        assert!(!names(&seven).contains(&"answer"));
        let early = made(&["xhs_writing", "insight", "facts"], json!({}));
        assert_eq!(names(&early), ["insight", "facts", "xhs_writing"]);
        assert_eq!(names(&made(&["answer"], json!({}))), ["answer"]);
        assert_eq!(names(&made(&["answer", "facts"], json!({}))), ["facts"]);
        let twice = made(&["facts", "answer"], json!({"minItems": 2}));
        assert_eq!(names(&twice), ["facts", "facts"]);
    }

    #[test]
    fn each_task_has_an_instruction_on_the_subject() {
        for actions in [&ACTIONS[..], &["slogan", "comment"]] {
            let made = plan(actions, &json!({}), "热泵与燃气锅炉", 1);
            let texts = |name: &'static str| made.iter().filter_map(move |task| task[name].as_str());
            assert!(texts("description").all(|text| !text.contains("[mock")));
            assert!(
                texts("input")
                    .next()
                    .is_some_and(|first| first.ends_with(" [mock 0000]"))
            );
            let inputs: Vec<&str> = texts("input").collect();
            assert!(!inputs.is_empty() && inputs.len() == made.len());
            for input in inputs {
                assert_eq!(Topic::of(input).subject, "热泵与燃气锅炉", "{input}");
            }
        }
    }

    #[test]
    fn an_action_may_be_defined_elsewhere() {
        let list = json!({"type": "array", "items": {"$ref": "#/$defs/task"}, "$defs": {"task": {
            "type": "object", "properties": {"action": {"enum": ["facts"]}, "input": {"enum": ["x"]}}}}});
        let made = instance(&list, "plan", &Topic::of("热泵"), "[mock 0000]", 1);
        assert_eq!(made, json!([{"action": "facts", "input": "x"}]));
    }
}
