//! Each recipe of `docs/providers.md` is a settings file that loads.

use std::path::PathBuf;

use nova3::config::{Config, Dialect, Flags};

/// The TOML blocks of the page, each with the heading above it.
fn recipes(page: &str) -> Vec<(&str, &str)> {
    let sections = page.split("\n## ").map(|section| {
        let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
        (heading, text)
    });
    let blocks = |(heading, text)| {
        let blocks = str::split(text, "```toml\n").skip(1);
        blocks.map(move |block| (heading, block.split("```").next().unwrap_or_default()))
    };
    sections.flat_map(blocks).collect()
}

/// Every key has a value.
fn env(name: &str) -> Option<String> {
    let is_key = name.ends_with("_API_KEY") || name.ends_with("_TOKEN");
    is_key.then(|| "a-key".to_owned())
}

#[test]
fn every_recipe_loads() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md");
    let page = std::fs::read_to_string(page).unwrap();
    let recipes = recipes(&page);
    assert!(recipes.len() > 10, "{} recipes", recipes.len());
    for (heading, recipe) in recipes {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), recipe).unwrap();
        let flags = Flags {
            config: Some(file.path().to_path_buf()),
            ..Flags::default()
        };
        let config = Config::load(&flags, &env).unwrap_or_else(|error| panic!("{heading}: {error}"));
        for route in &config.routes {
            let is_anthropic = route.dialect == Dialect::Anthropic;
            let path = route.endpoint.path();
            assert_eq!(path.ends_with("/v1/messages"), is_anthropic, "{heading}: {path}");
            assert!(route.model.is_some(), "{heading}: `{}` has no model", route.name);
        }
    }
}

#[test]
fn the_lines_of_init_load_when_they_are_uncommented() {
    let (settings, routes) = nova3::config::DEFAULT.split_once("# [routes.primary]\n").unwrap();
    let routes: String = routes
        .lines()
        .filter(|line| {
            !line.contains("A chain is") && !line.contains("Lines, agents") && !line.contains("default = [")
        })
        .map(|line| line.strip_prefix("# ").unwrap_or_default().to_owned() + "\n")
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{settings}\n[routes.primary]\n{routes}")).unwrap();
    let flags = Flags {
        config: Some(file.path().to_path_buf()),
        ..Flags::default()
    };
    let env = |name: &str| (name == "OPENAI_API_KEY" || name == "TENANT").then(|| "a-key".to_owned());
    let config = Config::load(&flags, &env).unwrap();
    let route = &config.routes[0];
    assert_eq!(
        (route.name.as_str(), route.body.len(), route.headers.len()),
        ("primary", 1, 2)
    );
}
