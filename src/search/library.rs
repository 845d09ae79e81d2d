//! All providers: the embedded ones, and those of the folder. A provider of the folder replaces the embedded one of the
//! same name.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::material::DefaultMaterial;
use super::provider::{Provider, name_of};
use super::provider_file::{ProviderError, ProviderSource};
use super::{CACHED, DEFAULT, HTTP, http};
use crate::config::{Env, SearchSettings};
use crate::domain::ids::shortened;

const EMBEDDED: [(&str, &str); 11] = [
    ("search/jina.toml", include_str!("../../search/jina.toml")),
    (
        "search/jina_reader.toml",
        include_str!("../../search/jina_reader.toml"),
    ),
    ("search/xhs.toml", include_str!("../../search/xhs.toml")),
    ("search/dy.toml", include_str!("../../search/dy.toml")),
    ("search/bocha.toml", include_str!("../../search/bocha.toml")),
    ("search/zhipu.toml", include_str!("../../search/zhipu.toml")),
    ("search/tavily.toml", include_str!("../../search/tavily.toml")),
    ("search/exa.toml", include_str!("../../search/exa.toml")),
    ("search/brave.toml", include_str!("../../search/brave.toml")),
    ("search/searxng.toml", include_str!("../../search/searxng.toml")),
    ("search/generic.toml", include_str!("../../search/generic.toml")),
];

const MATERIAL: &str = "material.toml";

const EMBEDDED_MATERIAL: &str = include_str!("../../search/material.toml");

/// The provider of a rehearsal. It is in no chain of the settings.
const EMBEDDED_MOCK: &str = include_str!("mock.toml");

/// The most bytes of a provider file.
const LARGEST: u64 = 1 << 20;

/// All providers, and the material of the link `default`.
#[derive(Debug)]
pub struct Providers {
    pub(super) all: Vec<Provider>,
    pub(super) material: DefaultMaterial,
}

impl Providers {
    /// Reads and checks all provider files, and the chain and the certificate authorities of the settings. No request is
    /// sent.
    pub fn load(settings: &SearchSettings, env: Env<'_>) -> Result<Self, ProviderError> {
        http::extra_roots(settings.ca_file.as_deref()).map_err(in_settings)?;
        let mut sources: Vec<ProviderSource> =
            EMBEDDED.iter().map(|(file, text)| embedded(file, text)).collect();
        let mut material = embedded("search/material.toml", EMBEDDED_MATERIAL);
        if let Some(folder) = &settings.folder {
            for source in read_folder(folder)? {
                if source.file.file_name().is_some_and(|name| name == MATERIAL) {
                    material = source;
                } else {
                    merge(&mut sources, source)?;
                }
            }
        }
        let all: Result<_, _> = sources.iter().map(|source| Provider::read(source, env)).collect();
        let providers = Self {
            all: all?,
            material: DefaultMaterial::read(&material)?,
        };
        providers.check_chain(&settings.providers)?;
        providers.check_reader(&settings.reader)?;
        Ok(providers)
    }

    /// Returns the provider `mock` alone, which asks the mock server under `base_url`, and the built-in material.
    pub fn rehearsal(base_url: &str) -> Result<Self, ProviderError> {
        let text = EMBEDDED_MOCK.replace("http://127.0.0.1/v1", base_url.trim_end_matches('/'));
        Ok(Self {
            all: vec![Provider::read(&embedded("search/mock.toml", &text), &|_| None)?],
            material: DefaultMaterial::read(&embedded("search/material.toml", EMBEDDED_MATERIAL))?,
        })
    }

    /// All providers.
    pub fn all(&self) -> &[Provider] {
        &self.all
    }

    /// Returns the names that a chain may contain, in backticks, for a message that lists them.
    pub fn known(&self) -> String {
        let providers = self.all.iter().filter(|provider| !provider.is_reader);
        let names = providers.map(|provider| provider.name.as_str());
        let names: Vec<String> = names
            .chain([CACHED, DEFAULT])
            .map(|name| format!("`{name}`"))
            .collect();
        names.join(", ")
    }

    /// Whether a chain may contain this name.
    pub fn knows(&self, link: &str) -> bool {
        [CACHED, DEFAULT].contains(&link) || self.names(link, false)
    }

    fn names(&self, name: &str, is_reader: bool) -> bool {
        let named = |provider: &Provider| provider.name == name && provider.is_reader == is_reader;
        self.all.iter().any(named)
    }

    fn check_reader(&self, reader: &str) -> Result<(), ProviderError> {
        if reader == HTTP || self.names(reader, true) {
            return Ok(());
        }
        let readers = self.all.iter().filter(|provider| provider.is_reader);
        let names = [HTTP]
            .into_iter()
            .chain(readers.map(|reader| reader.name.as_str()));
        let known: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        Err(in_settings(format!(
            "`search.reader` is `{}`: expected one of {}",
            shortened(reader, 60),
            known.join(", ")
        )))
    }

    fn check_chain(&self, chain: &[String]) -> Result<(), ProviderError> {
        match chain.iter().find(|link| !self.knows(link)) {
            None => Ok(()),
            Some(unknown) => Err(in_settings(format!(
                "`search.providers` names `{unknown}`: expected one of {}",
                self.known()
            ))),
        }
    }
}

fn embedded(file: &str, text: &str) -> ProviderSource {
    ProviderSource {
        file: PathBuf::from(file),
        text: text.to_owned(),
        embedded: true,
    }
}

/// Reads the `.toml` files of a folder, sorted by name.
fn read_folder(folder: &Path) -> Result<Vec<ProviderSource>, ProviderError> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        problem(
            folder,
            format!("failed to read the folder of `search.folder`: {error}"),
        )
    })?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("toml"))
        })
        .collect();
    paths.sort();
    paths.into_iter().map(read_file).collect()
}

fn read_file(file: PathBuf) -> Result<ProviderSource, ProviderError> {
    let mut bytes = Vec::new();
    // The size of a device or a pipe is not known before it is read.
    std::fs::File::open(&file)
        .and_then(|opened| opened.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| problem(&file, error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(problem(
            &file,
            format!("it is too large: expected at most {LARGEST} bytes"),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| problem(&file, error.to_string()))?;
    Ok(ProviderSource {
        file,
        text,
        embedded: false,
    })
}

/// Adds a provider of the folder. It replaces the embedded provider of its name, or it is added at the end.
fn merge(sources: &mut Vec<ProviderSource>, added: ProviderSource) -> Result<(), ProviderError> {
    let name = name_of(&added)?;
    for source in sources.iter_mut() {
        if name_of(source)? != name {
            continue;
        }
        if !source.embedded {
            let first = source.file.display();
            return Err(problem(
                &added.file,
                format!("`name` is `{name}`, also in `{first}`: expected one file for each name"),
            ));
        }
        *source = added;
        return Ok(());
    }
    sources.push(added);
    Ok(())
}

/// Returns the error for a value of the settings.
fn in_settings(reason: String) -> ProviderError {
    problem(Path::new("nova3.toml"), reason)
}

fn problem(file: &Path, reason: String) -> ProviderError {
    ProviderError {
        file: file.to_path_buf(),
        line: None,
        reason,
    }
}
