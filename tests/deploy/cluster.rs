//! Kubernetes: every file is listed and fits its schema, and the objects fit each other.

use serde_json::Value;

use super::command::{Settings, Variables, bad_lines};
use super::harness::{Found, Tree, differences, texts, version};
use super::{scaling, workload};

const FOLDER: &str = "deploy/kubernetes";
const SCHEMA: &str = include_str!("kubernetes.schema.json");

/// The objects of the cluster and their settings.
pub(crate) struct Cluster {
    objects: Vec<Value>,
    /// The environment variables that pods get from the secret.
    pub(crate) variables: Variables,
    pub(crate) settings: Settings,
}

impl Cluster {
    pub(crate) fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.of(kind).find(|object| object["metadata"]["name"] == name)
    }

    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }
}

pub(crate) fn faults(tree: &Tree) -> Found {
    let (mut faults, mut objects) = read(tree, FOLDER, "Kustomization")?;
    for folder in tree.entries(FOLDER)?.iter().filter(|name| !name.contains('.')) {
        let (more, parts) = read(tree, &format!("{FOLDER}/{folder}"), "Component")?;
        faults.extend(more);
        objects.extend(parts);
        if !tree
            .text(&format!("{FOLDER}/kustomization.yaml"))?
            .contains(&format!("  - {folder}\n"))
        {
            faults.push(format!(
                "{FOLDER}/kustomization.yaml: does not name the component `{folder}`"
            ));
        }
    }
    // Objects that do not fit their schema are not checked further.
    if !faults.is_empty() {
        return Ok(faults);
    }
    let kustomization = tree.yaml(&format!("{FOLDER}/kustomization.yaml"))?;
    if kustomization["images"][0]["newTag"] != version() {
        faults.push(format!(
            "{FOLDER}/kustomization.yaml: the tag is not version {}",
            version()
        ));
    }
    let namespace = &kustomization["namespace"];
    let cluster = known(objects)?;
    if !cluster
        .of("Namespace")
        .any(|object| object["metadata"]["name"] == *namespace)
    {
        faults.push(format!("{FOLDER}: there is no namespace {namespace}"));
    }
    faults.extend(input(&cluster)?);
    faults.extend(patches(tree, &cluster)?);
    faults.extend(workload::faults(tree, &cluster)?);
    faults.extend(scaling::faults(&cluster)?);
    Ok(faults)
}

/// The objects of a folder, and the faults of its list of files and of their schemas.
fn read(tree: &Tree, folder: &str, kind: &str) -> Result<(Vec<String>, Vec<Value>), String> {
    let place = format!("{folder}/kustomization.yaml");
    let list = tree.yaml(&place)?;
    let mut faults = differences(SCHEMA, Some(kind), &list, &place)?;
    let mut listed: Vec<&str> = texts(&list["resources"]);
    listed.sort_unstable();
    let files = tree.entries(folder)?;
    let there: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .filter(|name| name.contains('.') && *name != "kustomization.yaml")
        .collect();
    if listed != there {
        faults.push(format!("{place}: lists {listed:?}, in the folder are {there:?}"));
        return Ok((faults, Vec::new()));
    }
    let mut objects: Vec<Value> = Vec::new();
    for name in there {
        let path = format!("{folder}/{name}");
        let object = tree.yaml(&path)?;
        let kind = object["kind"].as_str().unwrap_or_default();
        faults.extend(differences(SCHEMA, Some(kind), &object, &path)?);
        objects.push(object);
    }
    Ok((faults, objects))
}

/// Takes the settings out of their object, and has the binary check them with the variables of the secret.
fn known(objects: Vec<Value>) -> Result<Cluster, String> {
    let data = |kind: &str, key: &str| {
        let object = objects.iter().find(|object| object["kind"] == kind);
        object
            .map(|object| object[key].clone())
            .ok_or(format!("{FOLDER}: no {kind}"))
    };
    let variables: Variables =
        serde_json::from_value(data("Secret", "stringData")?).map_err(|error| error.to_string())?;
    let text = data("ConfigMap", "data")?;
    let text = text["nova3.toml"]
        .as_str()
        .ok_or("settings.yaml: no nova3.toml")?;
    let settings = Settings::accepted(text, &variables, "settings.yaml: nova3.toml")?;
    Ok(Cluster {
        objects,
        variables,
        settings,
    })
}

/// Faults of the example input.
fn input(cluster: &Cluster) -> Found {
    let mut faults = Vec::new();
    for map in cluster.of("ConfigMap") {
        let data = |name: &str| map["data"][name].as_str().unwrap_or_default();
        faults.extend(bad_lines(
            data("requests.jsonl"),
            data("nova3.toml"),
            &cluster.variables,
            "settings.yaml: requests.jsonl",
        )?);
    }
    Ok(faults)
}

/// Patches whose object or path does not exist.
fn patches(tree: &Tree, cluster: &Cluster) -> Found {
    let mut faults = Vec::new();
    for folder in tree.entries(FOLDER)?.iter().filter(|name| !name.contains('.')) {
        let place = format!("{FOLDER}/{folder}/kustomization.yaml");
        let component = tree.yaml(&place)?;
        for patch in component["patches"].as_array().into_iter().flatten() {
            let target = |key: &str| patch["target"][key].as_str().unwrap_or_default();
            let object = cluster.object(target("kind"), target("name"));
            let steps: Value = serde_saphyr::from_str(patch["patch"].as_str().unwrap_or_default())
                .map_err(|error| format!("{place}: {error}"))?;
            for step in steps.as_array().into_iter().flatten() {
                let path = step["path"].as_str().unwrap_or_default();
                if step["op"] != "remove" || object.and_then(|object| object.pointer(path)).is_none() {
                    faults.push(format!("{place}: {step} fits no object"));
                }
            }
        }
    }
    Ok(faults)
}
