//! The autoscaler uses the same database as nova3, and counts the tasks that a worker runs at once.

use reqwest::Url;
use serde_json::Value;

use super::cluster::Cluster;
use super::harness::Found;

pub(crate) fn faults(cluster: &Cluster) -> Found {
    let mut faults = Vec::new();
    let store = cluster
        .settings
        .written
        .get("run")
        .and_then(|run| run.get("store"));
    let store = store.and_then(toml::Value::as_str).unwrap_or_default();
    let url = Url::parse(store).map_err(|error| format!("settings.yaml: store `{store}`: {error}"))?;
    if url.scheme() != "postgres"
        || url.password().is_some()
        || !url.query().unwrap_or_default().contains("sslmode=require")
    {
        faults.push(format!(
            "settings.yaml: store `{store}` is not a database over TLS, without a password"
        ));
    }
    for scaled in cluster.of("ScaledObject") {
        faults.extend(target(cluster, scaled));
        let trigger = &scaled["spec"]["triggers"][0];
        let place = "ScaledObject";
        let said = |key: &str| trigger["metadata"][key].as_str().unwrap_or_default();
        let same = url.host_str() == Some(said("host"))
            && url.port().map(|port| port.to_string()).as_deref() == Some(said("port"))
            && url.username() == said("userName")
            && url.path().trim_start_matches('/') == said("dbName");
        if !same {
            faults.push(format!("{place}: does not look at the store `{store}`"));
        }
        let in_hand = cluster.settings.concurrency();
        if said("targetQueryValue") != in_hand.to_string() {
            faults.push(format!(
                "{place}: a worker has {in_hand} queues in hand, not {}",
                said("targetQueryValue")
            ));
        }
        let most = scaled["spec"]["maxReplicaCount"].as_u64().unwrap_or_default() * in_hand;
        if said("query").matches(&format!("LIMIT {most})")).count() != 3 {
            faults.push(format!(
                "{place}: its query does not count up to {most}, what all workers have in hand"
            ));
        }
        faults.extend(password(cluster, trigger));
    }
    Ok(faults)
}

fn target(cluster: &Cluster, scaled: &Value) -> Option<String> {
    let name = scaled["spec"]["scaleTargetRef"]["name"]
        .as_str()
        .unwrap_or_default();
    let there = cluster.object("Deployment", name).is_some();
    (!there).then(|| format!("ScaledObject: there is no Deployment {name}"))
}

/// Faults of the password: it must come from an existing key of a secret.
fn password(cluster: &Cluster, trigger: &Value) -> Vec<String> {
    let name = trigger["authenticationRef"]["name"].as_str().unwrap_or_default();
    let Some(authentication) = cluster.object("TriggerAuthentication", name) else {
        return vec![format!("ScaledObject: there is no TriggerAuthentication {name}")];
    };
    let references = authentication["spec"]["secretTargetRef"]
        .as_array()
        .into_iter()
        .flatten();
    let said = |reference: &Value, key: &str| reference[key].as_str().unwrap_or_default().to_owned();
    references
        .filter(|reference| {
            let secret = cluster.object("Secret", &said(reference, "name"));
            !secret.is_some_and(|secret| secret["stringData"][said(reference, "key")].is_string())
        })
        .map(|reference| format!("TriggerAuthentication: {reference} is no key of a secret"))
        .collect()
}
