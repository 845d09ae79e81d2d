//! Lines of an input, and the tasks that they give.

use nova3::domain::failure::Failure;
use nova3::domain::request::{self, Digest, Rules};
use nova3::store::{NewLine, NewRequest, PendingTask, Planned};
use serde_json::{Value, json};

/// A line of an input, built step by step.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    json: Value,
    plan: Vec<Planned>,
}

/// A request of that `custom_id` with one task.
pub(crate) fn request(id: &str) -> Draft {
    Draft {
        json: json!({"custom_id": id, "query": "q"}),
        plan: vec![step("answer")],
    }
}

/// A request without a `custom_id`.
pub(crate) fn nameless(query: &str) -> Draft {
    Draft {
        json: json!({"query": query}),
        plan: vec![step("answer")],
    }
}

/// An OpenAI Batch line.
pub(crate) fn batch(id: &str) -> Draft {
    let messages = json!([{"role": "user", "content": "q"}]);
    Draft {
        json: json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": {"messages": messages}}),
        plan: vec![step("completion")],
    }
}

/// A line that is not a valid request.
pub(crate) fn bad(text: &str) -> Draft {
    Draft {
        json: Value::String(text.to_owned()),
        plan: vec![],
    }
}

impl Draft {
    fn with(mut self, key: &str, value: Value) -> Self {
        self.json[key] = value;
        self
    }

    pub(crate) fn id(self, name: &str) -> Self {
        self.with("custom_id", name.into())
    }

    pub(crate) fn query(self, text: &str) -> Self {
        self.with("query", text.into())
    }

    pub(crate) fn user(self, name: &str) -> Self {
        self.with("user_id", name.into())
    }

    pub(crate) fn session(self, name: &str) -> Self {
        self.with("session_id", name.into())
    }

    pub(crate) fn metadata(self, value: u64) -> Self {
        self.with("metadata", json!({"row": value}))
    }

    pub(crate) fn priority(self, value: i32) -> Self {
        self.with("priority", value.into())
    }

    pub(crate) fn until(self, action: &str) -> Self {
        self.with("until", action.into())
    }

    pub(crate) fn each(self) -> Self {
        self.with("auto", false.into())
    }

    /// Adds insights that a person was shown, with those selected and those not selected.
    pub(crate) fn shown(self, chosen: &[&str], left: &[&str]) -> Self {
        let item = |id: &&str, selected: bool| json!({"id": id, "content": "c", "selected": selected});
        let chosen = chosen.iter().map(|id| item(id, true));
        let left = left.iter().map(|id| item(id, false));
        let items: Vec<Value> = chosen.chain(left).collect();
        self.with("nova3_selections", json!({ "nova3_insight": items }))
    }

    /// Gives it `count` tasks of one action.
    pub(crate) fn tasks(self, count: usize) -> Self {
        Self {
            plan: vec![step("answer"); count],
            ..self
        }
    }

    /// Gives it tasks of these actions.
    pub(crate) fn plan(self, actions: &[&str]) -> Self {
        Self {
            plan: steps(actions),
            ..self
        }
    }

    /// Gives each of its tasks the tasks that it needs. `None`: the one before.
    pub(crate) fn needs(mut self, needs: &[Option<&[usize]>]) -> Self {
        for (task, needs) in self.plan.iter_mut().zip(needs) {
            task.needs = needs.map(<[usize]>::to_vec);
        }
        self
    }

    /// Gives it no tasks, so that planning comes first.
    pub(crate) fn unplanned(self) -> Self {
        self.plan(&[])
    }
}

/// The lines of an input of these drafts alone. Every line but the first has a blank one before it.
pub(crate) fn lines(drafts: &[Draft]) -> Vec<NewLine> {
    (0..)
        .zip(drafts)
        .map(|(index, draft)| line(index, draft))
        .collect()
}

fn line(index: u64, draft: &Draft) -> NewLine {
    let text = draft.json.to_string();
    let content = match request::read_line(text.as_bytes(), Rules::default()) {
        Ok(accepted) => NewRequest::Good {
            stops: accepted.request.work.stops(),
            request: Box::new(accepted.request),
            identity: accepted.identity,
            content: accepted.content,
            notes: accepted.notes,
            plan: draft.plan.clone(),
        },
        Err(error) => NewRequest::Bad {
            digest: Digest::of(text.as_bytes()),
            claim: error.claim,
            failure: Failure::bad_line(2 * index + 1, error.message),
        },
    };
    NewLine {
        line: 2 * index + 1,
        index,
        content,
    }
}

/// The step of a plan for an action.
fn step(action: &str) -> Planned {
    Planned {
        action: action.to_owned(),
        description: format!("{action}, in short"),
        input: format!("{action}: do it"),
        needs: None,
    }
}

pub(crate) fn steps(actions: &[&str]) -> Vec<Planned> {
    actions.iter().map(|action| step(action)).collect()
}

/// The tasks of a queue with a plan of these actions.
pub(crate) fn tasks(actions: &[&str]) -> Vec<PendingTask> {
    let task = |(number, step): (usize, Planned)| PendingTask {
        task_id: format!("task{number:03}"),
        action: step.action,
        description: step.description,
        input: step.input,
    };
    (1..).zip(steps(actions)).map(task).collect()
}
