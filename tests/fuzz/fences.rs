//! Untrusted text in prompts: it stands between fences, and none of its characters can close them.
//!
//! An input is a list of texts, separated by lines of `%%`. They go into every field of a request and of its material.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails the way a test does"
)]

use nova3::agent::{self, Agent, Agents, Prompt, TaskInput};
use nova3::config::{Config, ContextBudget, Flags};
use nova3::domain::failure::Class;
use nova3::domain::request::{Brief, Rules, Work, read_line};
use nova3::llm::{Client, Message};
use nova3::store::{Earlier, Material, Round, StoredItem};
use serde_json::{Value, json};

use super::input::{choices, digest};

/// The line about the language, behind the last fence of a request that is not Chinese.
const LANGUAGE: &str = "Write every text in the language of the request above, unless the request asks for another language. These \
     instructions are in Chinese; that is no reason to answer in Chinese.";

/// The lines that may stand outside of fences, beside [`LANGUAGE`].
const HEADINGS: [&str; 25] = [
    "# 前情",
    "# 背景",
    "# 产品",
    "# 历史内容",
    "# 补充信息",
    "# 已有结果",
    "# 引用条目",
    "# 选中条目",
    "# 未选条目的意见",
    "# 任务说明",
    "# 需求",
    "# 任务",
    "# Earlier_rounds",
    "# Background",
    "# Product",
    "# Published",
    "# Context",
    "# Earlier_results",
    "# References",
    "# Chosen_items",
    "# Comments_on_other_items",
    "# Instructions",
    "# Request",
    "# Question",
    "",
];

/// The longest name of a fence, in characters.
const LONGEST_NAME: usize = 60;

/// The most characters of a query.
const LONGEST_QUERY: usize = 5000;

/// The names of material that a warning may report as left out of a prompt.
const LEFT_OUT: [&str; 6] = [
    "rounds",
    "background",
    "earlier",
    "references",
    "selections",
    "long text",
];

/// A route for any prompt, and one from which most material has to be left out.
const SETTINGS: &str = "[routes.wide]\nbase_url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\nno_key = true\n\
     context_window = 1000000\n[routes.narrow]\nbase_url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\nno_key = true\n\
     context_window = 3000\n[chains]\ndefault = [\"wide\", \"narrow\"]\n";

#[test]
fn no_text_closes_its_fence() {
    super::campaign::Campaign {
        target: "fences",
        seeds: &[],
        check,
    }
    .run();
}

pub(crate) fn check(input: &[u8]) -> Vec<u64> {
    thread_local! {
        static WORLD: World = World::new();
    }
    WORLD.with(|world| world.check(input))
}

/// The inputs of prompts that do not depend on the fuzzed bytes.
struct World {
    agents: Agents,
    client: Client,
    budget: ContextBudget,
}

impl World {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().expect("a place for the settings");
        std::fs::write(file.path(), SETTINGS).expect("the settings are written");
        let flags = Flags {
            config: Some(file.path().to_path_buf()),
            ..Flags::default()
        };
        let config = Config::load_without_keys(&flags, &|_| None).expect("the settings are good");
        Self {
            agents: Agents::load(&config.agents).expect("the agents are good"),
            client: Client::new(&config).expect("a client"),
            budget: config.context,
        }
    }

    fn check(&self, input: &[u8]) -> Vec<u64> {
        let mut choices = choices(input);
        let texts = Texts::of(input);
        let agents = self.agents.all();
        let agent = agents
            .get(choices.usize(..=agents.len()))
            .unwrap_or(self.agents.supervisor());
        let route = choices.usize(..2);
        let small = ContextBudget {
            round_tokens: choices.u64(40..200),
            background_tokens: choices.u64(40..200),
            earlier_tokens: choices.u64(40..200),
            reference_tokens: choices.u64(40..200),
            chosen_tokens: choices.u64(40..200),
            ..self.budget
        };
        let budget = if choices.bool() { self.budget } else { small };
        let prompt = match self.prompt(agent, route, &budget, &texts) {
            Ok(prompt) => prompt,
            Err(class) => {
                assert_eq!(class, Class::ContextLength);
                assert!(route == 1, "a prompt of {} bytes does not fit", input.len());
                return vec![0];
            }
        };
        let [system, user] = &prompt.messages[..] else {
            panic!("{} messages", prompt.messages.len())
        };
        self.judge_system(agent, system);
        let fences = fences(&user.content);
        texts.judge(&fences);
        let told = prompt
            .warnings
            .iter()
            .find(|warning| warning.starts_with("left out"));
        let left_out = LEFT_OUT.map(|part| told.is_some_and(|told| told.contains(part)));
        vec![digest(&(fences.len(), left_out))]
    }

    fn prompt(
        &self,
        agent: &Agent,
        route: usize,
        budget: &ContextBudget,
        texts: &Texts,
    ) -> Result<Prompt, Class> {
        let (brief, material) = (texts.brief(), texts.material());
        let task = TaskInput {
            part: None,
            metadata: None,
            brief: &brief,
            input: texts.get(1),
            material: &material,
            search: None,
        };
        let route = &self.client.routes()[route];
        agent::prompt(agent, route, budget, task).map_err(|failure| failure.class)
    }

    /// Checks that an agent's own instructions depend only on the language of the request.
    fn judge_system(&self, agent: &Agent, system: &Message) {
        let is_same = ["q", "问题"].iter().any(|query| {
            let Ok(other) = self.prompt(agent, 0, &self.budget, &Texts::of(query.as_bytes())) else {
                panic!("a short prompt does not fit")
            };
            other.messages.first() == Some(system)
        });
        assert!(is_same, "{system:?}");
    }
}

struct Texts(Vec<String>);

impl Texts {
    fn of(input: &[u8]) -> Self {
        // A request with a NUL is refused.
        let input = String::from_utf8_lossy(input).replace('\0', " ");
        Self(input.split("\n%%\n").map(str::to_owned).collect())
    }

    fn get(&self, index: usize) -> &str {
        &self.0[index % self.0.len()]
    }

    /// Returns the beginning of a text for a field that is bounded and must not be blank.
    fn short(&self, index: usize, longest: usize) -> String {
        let text: String = self.get(index).chars().take(longest).collect();
        if text.trim().is_empty() {
            "x".to_owned()
        } else {
            text
        }
    }

    fn query(&self) -> String {
        self.get(0).chars().take(LONGEST_QUERY).collect()
    }

    fn brief(&self) -> Brief {
        let text = |index| self.get(index);
        let product = json!({"name": self.short(5, 200), "points": [self.short(6, 500)], "must_not_say": [self.short(7, 60)]});
        let line = json!({
            "query": self.query(),
            "background": {"account_name": text(2), "platform": text(3), "target_audience": text(4),
                "industry": text(5), "brand_style": text(6), "previous_content": [text(7), text(8)],
                "product": product},
            "interaction_context": {"key": text(9)},
            "nova3_selections": {
                "nova3_insight": [
                    {"id": text(10), "title": text(11), "content": text(12), "user_comment": text(13)},
                    {"id": text(14), "content": "left", "selected": false, "user_comment": text(15)}],
                "task_context": text(16)},
            "references": ["@fact1"],
        });
        let accepted = read_line(line.to_string().as_bytes(), Rules::default());
        match accepted.map(|accepted| accepted.request.work) {
            Ok(Work::Brief(brief)) => *brief,
            other => panic!("{other:?}"),
        }
    }

    fn material(&self) -> Material {
        let item = |id: &str, index| StoredItem {
            id: id.to_owned(),
            body: match self.body(index) {
                Value::Object(body) => body,
                _ => panic!("a body is an object"),
            },
        };
        Material {
            earlier: vec![Earlier {
                task_id: "task001".to_owned(),
                action: "profile".to_owned(),
                items: vec![item("profile1", 17), item("profile2", 18)],
                own: true,
            }],
            items: vec![item("fact1", 19)],
            rounds: vec![Round {
                number: 1,
                run: "r".to_owned(),
                custom_id: None,
                status: "completed".to_owned(),
                query: Some(self.get(20).to_owned()),
                output: vec![item("hitpoint1", 21)],
                completed_at: 0,
            }],
            left: Vec::new(),
            replaced: vec![],
        }
    }

    fn body(&self, index: usize) -> Value {
        json!({"title": self.get(index), "content": self.get(index + 1), "tags": [self.get(index + 2)],
            self.get(index + 3): self.get(index + 4)})
    }

    /// Returns every text that may stand between fences, in its form before that.
    fn sources(&self) -> Vec<String> {
        let text = |index: usize| self.get(index).to_owned();
        let mut sources: Vec<String> = [2, 3, 4, 5, 6, 7, 8, 13, 15, 16, 20].map(text).into();
        sources.extend([self.query(), json!({"key": text(9)}).to_string()]);
        sources.extend([self.short(5, 200), self.short(6, 500), self.short(7, 60)]);
        sources.push(format!("{}\n{}", text(11), text(12)));
        let bodies = [17, 18, 19, 21].map(|index| self.body(index));
        sources.extend(
            bodies
                .iter()
                .filter_map(|body| body.as_object().map(agent::text_of)),
        );
        sources
    }

    /// Checks that each fence holds one of the texts, whole or cut, apart from spaces that break a fence mark.
    fn judge(&self, fences: &[(String, String)]) {
        let sources: Vec<String> = self.sources().iter().map(|text| spaceless(text)).collect();
        let Some(((last, task), others)) = fences.split_last() else {
            panic!("a prompt without its task")
        };
        assert!(["任务", "Question"].contains(&last.as_str()), "{last}");
        assert_eq!(spaceless(task), spaceless(self.get(1)));
        for (name, text) in others {
            let shown = spaceless(text);
            let beginning = shown.strip_suffix('…');
            let is_whole = |source: &String| *source == shown;
            let is_cut = |source: &String| beginning.is_some_and(|text| source.starts_with(text));
            assert!(
                sources.iter().any(|source| is_whole(source) || is_cut(source)),
                "`{name}` holds another text: {text:?}"
            );
        }
    }
}

/// Returns the texts between fences, by name.
fn fences(prompt: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = prompt;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let Some(name) = line.strip_prefix("<<<") else {
            let is_of_language = line == LANGUAGE.trim();
            assert!(
                is_of_language || HEADINGS.contains(&line),
                "outside of a fence: {line:?}"
            );
            continue;
        };
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        assert!(
            name.chars().all(is_plain) && name.chars().count() <= LONGEST_NAME,
            "{name:?}"
        );
        // A reader takes the first such mark for the end.
        let Some((text, after)) = rest.split_once(">>>") else {
            panic!("a fence that does not end: {rest:?}")
        };
        let Some(text) = text.strip_suffix(name).and_then(|text| text.strip_suffix('\n')) else {
            panic!("the fence `{name}` is closed from inside: {text:?}")
        };
        assert!(!text.contains("<<<"), "a fence opens in `{name}`: {text:?}");
        rest = after.strip_prefix('\n').unwrap_or(after);
        assert!(
            after.is_empty() || after.starts_with('\n'),
            "behind a fence: {after:?}"
        );
        found.push((name.to_owned(), text.to_owned()));
    }
    found
}

/// Removes the spaces: a fence may add only spaces to a text.
fn spaceless(text: &str) -> String {
    text.replace(' ', "")
}
