//! The sources of a prompt: the results of its search, and the texts that a fact may name or a text must stand on.

use super::parts::{Named, PromptParts, SearchHit};
use super::proof::SourceText;
use crate::domain::grounding::Grounds;
use crate::domain::task_search::{SourceRecord, TaskSearch};

impl PromptParts {
    /// Adds the sources of the task's search.
    #[must_use]
    pub(super) fn with_sources(mut self, search: Option<&TaskSearch>) -> Self {
        let hit = |source: &SourceRecord| SearchHit {
            id: source.id.clone(),
            title: if source.looked_up {
                source.title.clone()
            } else {
                format!("（没有检索到，只是默认材料，不能当依据）{}", source.title)
            },
            url: source.url.clone().unwrap_or_default(),
            text: source.text.clone(),
        };
        let found = search.map_or(&[][..], |search| &search.sources);
        self.results = found.iter().map(hit).collect();
        self
    }

    /// Returns every part of the prompt that a `source` may name. The texts are copied only if `with_texts`.
    pub(super) fn sources(&self, with_texts: bool) -> Vec<SourceText> {
        let mut sources = Vec::new();
        let mut named = |name: &str, texts: &[&str]| {
            if texts.iter().any(|text| !text.is_empty()) {
                sources.push(SourceText {
                    name: name.to_owned(),
                    text: if with_texts {
                        texts.join("\n")
                    } else {
                        String::new()
                    },
                });
            }
        };
        let earlier = self.earlier.iter().flat_map(|task| &task.items);
        let rounds = self.rounds.iter().flat_map(|round| &round.items);
        for item in self.references.iter().chain(earlier).chain(rounds) {
            named(&item.id, &[&item.text]);
        }
        for item in &self.chosen {
            named(
                &item.id,
                &[&item.text, item.comment.as_deref().unwrap_or_default()],
            );
        }
        for hit in &self.results {
            named(&hit.id, &[&hit.title, &hit.text]);
        }
        let values = |lines: &'_ [Named]| lines.iter().map(|line| line.value.clone()).collect::<Vec<_>>();
        let texts = |list: &'_ [String]| list.join("\n");
        named("需求", &[self.query.as_deref().unwrap_or_default(), &self.input]);
        named("任务", &[&self.input]);
        named("背景", &[&texts(&values(&self.background))]);
        named(
            "产品",
            &[&texts(&values(&self.product)), &texts(&values(&self.wording))],
        );
        named("历史内容", &[&texts(&self.previous)]);
        named("补充信息", &[self.context.as_deref().unwrap_or_default()]);
        named("任务说明", &[self.task_context.as_deref().unwrap_or_default()]);
        sources
    }

    /// Returns the statements that a finished text may make: those of the client, of what was chosen or referenced, of
    /// facts with a source, and of the task's own search. Other results of models are no ground.
    pub(super) fn grounds(&self) -> Grounds {
        let earlier = self.earlier.iter().flat_map(|task| &task.items);
        let rounds = self.rounds.iter().flat_map(|round| &round.items);
        let facts = earlier.chain(rounds).filter(|item| item.is_sourced);
        let items = facts.chain(&self.references).map(|item| &item.text);
        let chosen = self
            .chosen
            .iter()
            .flat_map(|item| std::iter::once(&item.text).chain(&item.comment));
        let lines = self.background.iter().chain(&self.product).chain(&self.wording);
        let found = self.results.iter().flat_map(|hit| [&hit.title, &hit.text]);
        let own = [&self.query, &self.context, &self.task_context];
        let texts = items
            .chain(chosen)
            .chain(lines.map(|line| &line.value))
            .chain(found)
            .chain(&self.previous)
            .chain(own.into_iter().flatten())
            .chain([&self.input]);
        Grounds::of(texts.map(String::as_str))
    }
}
