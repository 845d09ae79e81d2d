//! The harness of the tests: provider files, settings and a searcher.

use std::sync::Arc;

use nova3::config::{Flags, SearchSettings, search_in_force};
use nova3::limit::{InProcess, Limiter, Limits};
use nova3::search::{
    FailureKind, MemoryCache, Provider, ProviderError, Providers, Query, SearchError, SearchOutcome, Searcher,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Reply, Server};

/// Provider files and settings in a folder. The program's own code reads them.
pub(super) struct Harness {
    folder: TempDir,
    chain: Vec<String>,
    search: String,
    sections: String,
    env: Vec<(String, String)>,
}

/// Backoffs of at most 2 ms, and pauses of at most 300 ms.
const QUICK: &str = "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\npatience = \"300ms\"\n";

pub(super) fn setup(chain: &[&str]) -> Harness {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("search")).unwrap();
    Harness {
        folder,
        chain: chain.iter().map(|&link| link.to_owned()).collect(),
        search: String::new(),
        sections: "[breaker]\nfailures = 1000\n".to_owned(),
        env: Vec::new(),
    }
}

impl Harness {
    /// Writes a provider file.
    pub(super) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join("search").join(name), text).unwrap();
        self
    }

    /// Adds a provider without a key that asks this server.
    pub(super) fn provider(self, name: &str, server: &Server) -> Self {
        let text = provider(name, &server.origin(), "");
        self.file(&format!("{name}.toml"), &text)
    }

    /// Adds lines to `[search]`.
    pub(super) fn search(mut self, lines: &str) -> Self {
        self.search += &format!("{lines}\n");
        self
    }

    /// Sets the sections beside `[search]` and `[retry]`. Without this call no breaker opens.
    pub(super) fn sections(mut self, text: &str) -> Self {
        text.clone_into(&mut self.sections);
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the path of a file in the folder of the settings.
    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(super) fn load(&self) -> Result<(Providers, SearchSettings), ProviderError> {
        let config = self.folder.path().join("nova3.toml");
        let folder = self.folder.path().join("search");
        let text = format!(
            "{QUICK}{}\n[search]\nproviders = {:?}\nfolder = {:?}\n{}",
            self.sections,
            self.chain,
            folder.display().to_string(),
            self.search
        );
        std::fs::write(&config, text).unwrap();
        let flags = Flags {
            config: Some(config),
            ..Flags::default()
        };
        let env = |name: &str| {
            let found = self.env.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let settings = search_in_force(&flags, &env).unwrap();
        Ok((Providers::load(&settings, &env)?, settings))
    }

    pub(super) fn searcher(&self) -> Searcher {
        let (providers, settings) = self.load().unwrap();
        let cache = Arc::new(MemoryCache::new(settings.cache_bytes));
        Searcher::new(providers, settings, cache, &limiter)
    }
}

fn limiter(provider: &Provider) -> Arc<dyn Limiter> {
    Arc::new(InProcess::new(Limits {
        rpm: provider.rpm,
        tpm: None,
    }))
}

/// Returns a provider file for answers in the format of [`items`]. `top` has further lines of the file.
pub(super) fn provider(name: &str, origin: &str, top: &str) -> String {
    format!(
        r#"name = "{name}"
url = "{origin}/search"
{top}
[query]
q = "{{{{ query }}}}"

[answer]
success = [{{ at = "/code", is = [0] }}]
code = ["/code"]
message = ["/message"]
items = ["/items"]

[item]
title = ["/title"]
url = ["/url"]
text = ["/text"]
time = ["/time"]

[terminal]
code = [601]

[limited]
code = [302]

[retryable]
code = [301]

[cost]
usd = 0.25
"#
    )
}

/// Returns a good answer with one item of this title.
pub(super) fn items(title: &str) -> Reply {
    Reply::json(&body(title))
}

pub(super) fn body(title: &str) -> Value {
    let item =
        json!({"title": title, "url": "https://example.com/1", "text": "a text", "time": 1_767_225_600});
    json!({"code": 0, "items": [item]})
}

pub(super) fn query(text: &str) -> Query {
    Query::new(text, 5).unwrap()
}

/// Searches for `燕麦`.
pub(super) async fn search(searcher: &Searcher) -> Result<SearchOutcome, SearchError> {
    searcher.search(&query("燕麦")).await
}

/// Returns the tries and the kind of failure of each link. The kind is `None` for the link that answered.
pub(super) fn attempts_of(outcome: &SearchOutcome) -> Vec<(&str, u32, Option<FailureKind>)> {
    outcome
        .attempts
        .iter()
        .map(|attempt| {
            let kind = attempt.failure.as_ref().map(|failure| failure.kind);
            (attempt.link.as_str(), attempt.tries, kind)
        })
        .collect()
}

pub(super) fn titles(outcome: &SearchOutcome) -> Vec<&str> {
    outcome.items.iter().map(|item| item.title.as_str()).collect()
}
