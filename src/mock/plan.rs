//! Plans: lists of tasks, told from other lists by an `action` that has to be one of several.
//!
//! A plan walks the enumeration of its actions in order, as a supervisor would that knows which step builds
//! on which, and ends in what the prompt asks for.

use fastrand::Rng;
use serde_json::Value;

use super::answer::{fill_with, two_keywords};
use super::keywords::Theme;
use super::phrases::{ACTS, OTHER};

/// The action that answers at once, and so has no place beside others.
const AT_ONCE: &str = "answer";

/// The actions to choose from, if `items` are tasks; `action` is what they say of it.
pub(crate) fn choices(action: &Value) -> Vec<&str> {
    let choices = action["enum"].as_array().into_iter().flatten();
    choices.filter_map(Value::as_str).collect()
}

/// At most `most` different actions of `choices` in their order, the last one chosen by the prompt.
pub(crate) fn walk<'c>(choices: &[&'c str], theme: &Theme<'_>, most: usize) -> Vec<&'c str> {
    let asked = outlet_asked_for(choices, theme);
    let steps = choices.iter().copied();
    let mut walk: Vec<&str> = steps
        .filter(|&action| action != AT_ONCE && Some(action) != asked)
        .collect();
    if walk.is_empty() && asked.is_none() {
        walk.extend(choices.first());
    }
    walk.truncate(most.saturating_sub(usize::from(asked.is_some())));
    walk.extend(asked);
    walk.truncate(most);
    walk
}

/// The action whose outlet the prompt names last: in its last part that names any, the first one named there.
fn outlet_asked_for<'c>(choices: &[&'c str], theme: &Theme<'_>) -> Option<&'c str> {
    let mut lines = theme.material.parts().iter().rev();
    let action = lines.find_map(|part| part.iter().find_map(|line| outlet_in(line, choices)))?;
    choices.iter().copied().find(|&choice| choice == action)
}

/// The first outlet that `line` names and one of `choices` writes for.
fn outlet_in(line: &str, choices: &[&str]) -> Option<&'static str> {
    let line = line.to_lowercase();
    let writing = ACTS.iter().filter(|act| choices.contains(&act.action));
    writing
        .filter_map(|act| {
            let at = act.outlet.iter().filter_map(|word| mention(&line, word)).min()?;
            Some((at, act.action))
        })
        .min()
        .map(|(_, action)| action)
}

/// Where `line` says `word`; a Latin one stands alone there, so that `xhs_post1` names no outlet.
fn mention(line: &str, word: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        !word.is_ascii()
            || !(line[..at].ends_with(part_of_word) || line[at + word.len()..].starts_with(part_of_word))
    })
}

/// What a task says of itself and to the one who does it.
pub(crate) struct Brief {
    pub(crate) description: String,
    pub(crate) input: String,
}

/// The texts of the task that does `action`.
pub(crate) fn brief(action: &str, theme: &Theme<'_>, rng: &mut Rng) -> Brief {
    let act = ACTS.iter().find(|act| act.action == action).unwrap_or(&OTHER);
    let goal = act.goal(theme.language);
    let details = theme.language.phrases().details;
    let details = details[rng.usize(..details.len())];
    let keywords = two_keywords(theme, rng);
    let text = |template: &str| {
        let mut text = String::new();
        fill_with(&mut text, template, &theme.subject, keywords);
        text
    };
    Brief {
        description: text(goal),
        input: text(&format!("{goal}{details}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::instance;
    use super::*;
    use serde_json::json;

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

    fn list(actions: &[&str], bounds: &Value) -> Value {
        let text = json!({"type": "string"});
        let task = json!({"type": "object", "required": ["action", "description", "input"],
            "properties": {"action": {"enum": actions}, "description": text, "input": text}});
        let mut list = json!({"type": "array", "items": task});
        for (key, bound) in bounds.as_object().into_iter().flatten() {
            list[key] = bound.clone();
        }
        list
    }

    fn plan(list: &Value, prompt: &str, seed: u64) -> Vec<Value> {
        let made = instance(list, &Theme::of(prompt), "[mock 0000]", Rng::with_seed(seed));
        made.as_array().expect("a list").clone()
    }

    fn actions(plan: &[Value]) -> Vec<&str> {
        let actions = plan.iter().map(|task| task["action"].as_str());
        actions.map(|action| action.expect("an action")).collect()
    }

    #[test]
    fn a_plan_walks_the_enumeration_to_what_is_asked() {
        for seed in 0..50 {
            let plain = plan(&list(&ACTIONS, &json!({})), "分析热泵与燃气锅炉", seed);
            assert!((3..=5).contains(&plain.len()));
            assert_eq!(actions(&plain), ACTIONS[..plain.len()]);
            for (prompt, last) in [
                ("写一篇热泵的小红书笔记", "xhs_writing"),
                ("热泵发XHS文案", "xhs_writing"),
                ("A RedNote post on heat pumps", "xhs_writing"),
                ("热泵的抖音口播，之后再发小红书", "tiktok_script"),
                ("拍热泵短视频", "tiktok_script"),
                ("A tiktok about heat pumps", "tiktok_script"),
                ("heat pumps on Douyin", "tiktok_script"),
                ("热泵公众号长文", "wechat_article"),
                ("热泵微信推文", "wechat_article"),
                ("把@xhs_post1改写成WeChat长文", "wechat_article"),
            ] {
                let made = plan(&list(&ACTIONS, &json!({})), prompt, seed);
                assert!((3..=5).contains(&made.len()));
                let (end, walk) = made.split_last().expect("tasks");
                assert_eq!(end["action"], last, "{prompt}");
                assert_eq!(actions(walk), ACTIONS[..walk.len()]);
            }
        }
    }

    #[test]
    fn the_last_part_that_names_an_outlet_decides() {
        let prompt = "# 历史\n<<<history\n上次写了公众号\nhistory>>>\n# 需求\n<<<query\n这次拍抖音\nquery>>>\n\
            # 任务\n<<<xhs\n安排任务\nxhs>>>\n";
        let made = plan(&list(&ACTIONS, &json!({})), prompt, 1);
        assert_eq!(actions(&made).last(), Some(&"tiktok_script"));
        let without = plan(&list(&ACTIONS[..4], &json!({})), prompt, 1);
        assert_eq!(actions(&without), ACTIONS[..without.len()]);
    }

    #[test]
    fn bounds_rule_and_an_answer_stands_alone() {
        let made = |actions: &[&str], bounds: Value| plan(&list(actions, &bounds), "写小红书", 1);
        assert_eq!(actions(&made(&ACTIONS, json!({"maxItems": 1}))), ["xhs_writing"]);
        assert_eq!(made(&ACTIONS, json!({"maxItems": 0})), Vec::<Value>::new());
        let seven = made(&ACTIONS, json!({"minItems": 7}));
        assert_eq!(seven.len(), 7);
        assert!(!actions(&seven).contains(&"answer"));
        let early = made(&["xhs_writing", "insight", "facts"], json!({}));
        assert_eq!(actions(&early), ["insight", "facts", "xhs_writing"]);
        assert_eq!(actions(&made(&["answer"], json!({}))), ["answer"]);
        assert_eq!(actions(&made(&["answer", "facts"], json!({}))), ["facts"]);
        let twice = made(&["facts", "answer"], json!({"minItems": 2}));
        assert_eq!(actions(&twice), ["facts", "facts"]);
    }

    #[test]
    fn tasks_speak_of_the_theme() {
        let prompt = "热泵与燃气锅炉";
        let made = plan(&list(&ACTIONS, &json!({})), prompt, 1);
        assert_eq!(made, plan(&list(&ACTIONS, &json!({})), prompt, 1));
        assert_ne!(made, plan(&list(&ACTIONS, &json!({})), prompt, 2));
        for task in &made {
            let (description, input) = (&task["description"], &task["input"]);
            let (description, input) = (description.as_str().expect("text"), input.as_str().expect("text"));
            assert!(description.chars().count() <= 20, "{description}");
            assert!(input.starts_with(description), "{input}");
            assert!(input.contains("热泵") && input.contains("燃气锅炉"), "{input}");
        }
        let bare = json!({"type": "array", "items": {"$ref": "#/$defs/task"}, "$defs": {"task": {
            "type": "object", "properties": {"action": {"enum": ["facts"]}, "input": {"enum": ["x"]}}}}});
        assert_eq!(plan(&bare, prompt, 1), [json!({"action": "facts", "input": "x"})]);
    }
}
