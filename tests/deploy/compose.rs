//! Compose: the volumes and services that are named are defined, and the services fit the settings file.

use std::collections::BTreeSet;

use reqwest::Url;
use serde_json::{Map, Value};

use super::command::{Settings, Variables, unknown};
use super::harness::{Found, Tree, differences, root, texts, version};

const FILE: &str = "deploy/compose.yaml";

pub(crate) fn faults(tree: &Tree) -> Found {
    let compose = given(&tree.yaml(FILE)?)?;
    let faults = differences(include_str!("compose.schema.json"), None, &compose, FILE)?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    let empty = Map::new();
    let services = compose["services"].as_object().unwrap_or(&empty);
    let settings = Settings::accepted(
        &tree.text("deploy/nova3.toml")?,
        &Variables::new(),
        "deploy/nova3.toml",
    )?;
    let mut faults = volumes(services, &compose["volumes"]);
    for (name, service) in services {
        let place = format!("{FILE}: {name}");
        let needed = service["depends_on"].as_object().unwrap_or(&empty);
        faults.extend(
            needed
                .keys()
                .filter(|other| {
                    !services
                        .get(*other)
                        .is_some_and(|other| other["healthcheck"].is_object())
                })
                .map(|other| format!("{place}: waits for the health of `{other}`, which tells none")),
        );
        if name != "db" {
            let variables = variables(service);
            let args = texts(&service["command"]);
            faults.extend(unknown(&args, &variables, &place));
            faults.extend(paths(service, &args, &variables, &place));
            if service["image"] != format!("nova3:{}", version()) {
                faults.push(format!("{place}: the image is not that of version {}", version()));
            }
        }
        let seconds = service["stop_grace_period"].as_str().unwrap_or_default();
        let seconds = seconds.trim_end_matches('s').parse().unwrap_or_default();
        faults.extend(settings.drains_within(seconds, &place));
    }
    faults.extend(database(services));
    faults.extend(model(services, &settings));
    faults.extend(secrets(&tree.yaml(FILE)?, &tree.text("deploy/nova3.toml")?));
    Ok(faults)
}

/// The file with only its required variables set: other variables are replaced by their defaults.
fn given(value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(interpolated(text)?),
        Value::Array(items) => Value::Array(items.iter().map(given).collect::<Result<_, _>>()?),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| Ok((key.clone(), given(value)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

fn interpolated(text: &str) -> Result<String, String> {
    let Some((before, rest)) = text.split_once("${") else {
        return Ok(text.to_owned());
    };
    let parts = rest
        .split_once('}')
        .and_then(|(inside, after)| Some((inside.split_once(':')?, after)));
    let Some(((_, rule), after)) = parts else {
        return Err(format!(
            "{FILE}: `{text}`: a variable without a default and without `?`"
        ));
    };
    let value = match rule.split_at_checked(1) {
        Some(("-", default)) => default,
        Some(("?", _)) => "given",
        _ => return Err(format!("{FILE}: `{text}`: neither a default nor `?`")),
    };
    Ok(format!("{before}{value}{}", interpolated(after)?))
}

fn variables(service: &Value) -> Variables {
    let given = service["environment"].as_object().into_iter().flatten();
    given
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The mounts: source, target, whether read-only.
fn mounts(service: &Value) -> Vec<(String, String, bool)> {
    let listed = service["volumes"].as_array().into_iter().flatten();
    listed
        .filter_map(|mount| {
            if let Some(text) = mount.as_str() {
                let mut parts = text.split(':');
                let (source, target) = (parts.next()?, parts.next()?);
                return Some((source.to_owned(), target.to_owned(), parts.next() == Some("ro")));
            }
            Some((
                mount["source"].as_str()?.to_owned(),
                mount["target"].as_str()?.to_owned(),
                true,
            ))
        })
        .collect()
}

/// Volumes that are mounted and not defined, or the reverse; files that are mounted and do not exist.
fn volumes(services: &Map<String, Value>, defined: &Value) -> Vec<String> {
    let sources = services.values().flat_map(mounts).map(|(source, ..)| source);
    let (files, named): (BTreeSet<String>, BTreeSet<String>) =
        sources.partition(|source| source.starts_with('.'));
    let defined = defined
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect();
    let missing = files
        .iter()
        .filter(|file| !root().join("deploy").join(file).exists());
    named
        .symmetric_difference(&defined)
        .map(|name| format!("{FILE}: volume `{name}` is mounted and not defined, or defined and not mounted"))
        .chain(missing.map(|file| format!("{FILE}: `{file}` is mounted and not there")))
        .collect()
}

/// Paths of the command and its variables that have no mount, and a result file in a read-only mount.
fn paths(service: &Value, args: &[&str], variables: &Variables, place: &str) -> Vec<String> {
    let mounts = mounts(service);
    let mount = |path: &str| {
        mounts
            .iter()
            .find(|(_, target, _)| path.starts_with(target.as_str()))
    };
    let named = args.iter().copied().chain(variables.values().map(String::as_str));
    let mut faults: Vec<String> = named
        .filter(|path| path.starts_with('/') && mount(path).is_none())
        .map(|path| format!("{place}: nothing is mounted at `{path}`"))
        .collect();
    let output = args.iter().skip_while(|arg| **arg != "-o").nth(1);
    if let Some(path) = output.filter(|path| mount(path).is_none_or(|(.., read_only)| *read_only)) {
        faults.push(format!("{place}: results cannot be written to `{path}`"));
    }
    faults
}

/// Processes that do not use the database of this file, or use it as another user.
fn database(services: &Map<String, Value>) -> Vec<String> {
    let db = variables(&services["db"]);
    let of = |name: &str| db.get(name).cloned().unwrap_or_default();
    let mut faults = Vec::new();
    for name in ["run", "worker"] {
        let variables = variables(&services[name]);
        let store = variables.get("NOVA3_STORE").and_then(|url| Url::parse(url).ok());
        let fits = store.is_some_and(|url| {
            url.scheme() == "postgres"
                && url.host_str() == Some("db")
                && url.username() == of("POSTGRES_USER")
                && url.password().is_none()
                && url.path() == format!("/{}", of("POSTGRES_DB"))
        });
        if !fits || variables.get("PGPASSWORD") != db.get("POSTGRES_PASSWORD") {
            faults.push(format!(
                "{FILE}: {name}: its store is not the database `db`, without a password in its URL"
            ));
        }
    }
    faults
}

/// A fault if the route of the settings does not lead to the service that stands in for a model.
fn model(services: &Map<String, Value>, settings: &Settings) -> Vec<String> {
    let routes = settings.written.get("routes").and_then(toml::Value::as_table);
    let mut urls = routes
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(|route| Url::parse(route.get("base_url")?.as_str()?).ok());
    let mock = texts(&services["mock"]["command"]);
    let listens = mock
        .iter()
        .skip_while(|arg| **arg != "--listen")
        .nth(1)
        .copied()
        .unwrap_or_default();
    let leads_there = |url: Url| {
        url.host_str() == Some("mock")
            && listens == format!("0.0.0.0:{}", url.port_or_known_default().unwrap_or_default())
    };
    if urls.any(leads_there) {
        return Vec::new();
    }
    vec![format!("{FILE}: no route of deploy/nova3.toml leads to `mock`")]
}

/// Passwords and keys that are written in the file itself.
fn secrets(compose: &Value, settings: &str) -> Vec<String> {
    let services = compose["services"].as_object().into_iter().flat_map(Map::values);
    let written = services.flat_map(variables).filter(|(name, value)| {
        (name.contains("PASSWORD") || name.contains("KEY")) && !value.starts_with("${")
    });
    let mut faults: Vec<String> = written
        .map(|(name, _)| format!("{FILE}: `{name}` stands in the file"))
        .collect();
    if settings.contains("sk-") {
        faults.push("deploy/nova3.toml: holds a key".to_owned());
    }
    faults
}
