//! Pods: their volumes and secrets exist, selectors find them, their command is right, and they have time to drain.

use std::collections::BTreeSet;

use nova3::cli::Exit;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::command::{Variables, unknown};
use super::harness::{Found, Tree, texts};
use super::image;

pub(crate) fn faults(tree: &Tree, cluster: &Cluster) -> Found {
    let user = image::user(tree)?;
    let mut faults = Vec::new();
    for workload in cluster.of("Job").chain(cluster.of("Deployment")) {
        let place = format!("{} {}", workload["kind"], workload["metadata"]["name"]).replace('"', "");
        let pod = &workload["spec"]["template"]["spec"];
        faults.extend(volumes(cluster, pod, &place));
        faults.extend(arguments(cluster, pod, &place));
        faults.extend(owners(pod, user, &place));
        faults.extend(metrics(&workload["spec"]["template"], &place));
        let seconds = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or_default();
        faults.extend(cluster.settings.drains_within(seconds, &place));
    }
    faults.extend(selectors(cluster));
    faults.extend(cluster.of("Job").flat_map(tries));
    Ok(faults)
}

/// A fault of the metrics: a pod is scraped at the port that it serves.
fn metrics(template: &Value, place: &str) -> Option<String> {
    let container = &template["spec"]["containers"][0];
    let mut variables = container["env"].as_array().into_iter().flatten();
    let address = variables.find(|variable| variable["name"] == "NOVA3_METRICS_ADDR");
    let served = address.and_then(|address| Some(address["value"].as_str()?.rsplit_once(':')?.1.to_owned()));
    let annotations = &template["metadata"]["annotations"];
    let scraped = annotations["prometheus.io/port"].as_str().map(str::to_owned);
    let open = container["ports"][0]["containerPort"]
        .as_u64()
        .map(|port| port.to_string());
    (served != scraped || served != open).then(|| {
        format!("{place}: serves metrics at {served:?}, opens {open:?} and is scraped at {scraped:?}")
    })
}

/// Volumes without an object or without a mount, mounts without a volume, and secrets that do not exist.
fn volumes(cluster: &Cluster, pod: &Value, place: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for volume in list(&pod["volumes"]) {
        let behind = [
            ("ConfigMap", &volume["configMap"]["name"]),
            (
                "PersistentVolumeClaim",
                &volume["persistentVolumeClaim"]["claimName"],
            ),
        ];
        let missing = behind
            .iter()
            .filter(|(kind, named)| named.is_string() && cluster.object(kind, &name(named)).is_none());
        faults.extend(missing.map(|(kind, named)| format!("{place}: there is no {kind} {named}")));
    }
    let container = &pod["containers"][0];
    for source in list(&container["envFrom"]) {
        let named = &source["secretRef"]["name"];
        if cluster.object("Secret", &name(named)).is_none() {
            faults.push(format!("{place}: there is no Secret {named}"));
        }
    }
    let names = |value: &Value| {
        list(value)
            .iter()
            .map(|item| name(&item["name"]))
            .collect::<BTreeSet<_>>()
    };
    let (mounted, there) = (names(&container["volumeMounts"]), names(&pod["volumes"]));
    faults.extend(
        mounted.symmetric_difference(&there).map(|name| {
            format!("{place}: volume `{name}` is mounted and not there, or there and not mounted")
        }),
    );
    faults
}

/// Arguments that the command does not know, and paths outside the mounts.
fn arguments(cluster: &Cluster, pod: &Value, place: &str) -> Vec<String> {
    let container = &pod["containers"][0];
    let given = container["env"].as_array().into_iter().flatten();
    let variables: Variables = given
        .filter_map(|pair| {
            Some((
                pair["name"].as_str()?.to_owned(),
                pair["value"].as_str()?.to_owned(),
            ))
        })
        .collect();
    let args = texts(&container["args"]);
    let mut faults = unknown(&args, &variables, place);
    let output = args.iter().skip_while(|arg| **arg != "-o").nth(1).copied();
    let named = args.iter().copied().chain(variables.values().map(String::as_str));
    for path in named.filter(|text| text.starts_with('/')) {
        let fits = mount(pod, path).is_some_and(|(volume, rest)| {
            if Some(path) == output {
                return volume["persistentVolumeClaim"].is_object();
            }
            let map = volume["configMap"]["name"].as_str().unwrap_or_default();
            cluster
                .object("ConfigMap", map)
                .is_some_and(|map| map["data"][rest].is_string())
        });
        if !fits {
            faults.push(format!("{place}: `{path}` is nothing that is mounted"));
        }
    }
    faults
}

/// The volume of a path, and the path inside that volume.
fn mount<'a>(pod: &'a Value, path: &'a str) -> Option<(&'a Value, &'a str)> {
    let mounts = pod["containers"][0]["volumeMounts"].as_array()?;
    mounts.iter().find_map(|mount| {
        let rest = path
            .strip_prefix(mount["mountPath"].as_str()?)?
            .strip_prefix('/')?;
        let volumes = pod["volumes"].as_array()?;
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"])?;
        Some((volume, rest))
    })
}

/// Faults of the users: pods run as the user of the image, and a writer owns its volume.
fn owners(pod: &Value, (user, group): (u64, u64), place: &str) -> Vec<String> {
    let context = &pod["securityContext"];
    let claims = pod["volumes"].as_array().into_iter().flatten();
    let writes = claims
        .filter(|volume| volume["persistentVolumeClaim"].is_object())
        .count()
        > 0;
    let owner = if writes { json!(group) } else { Value::Null };
    if context["runAsUser"] == user && context["runAsGroup"] == group && context["fsGroup"] == owner {
        return Vec::new();
    }
    vec![format!(
        "{place}: does not run as the image's user {user}:{group}, with its group on what it writes"
    )]
}

/// Faults of selectors: each must select the workers and no other pods.
fn selectors(cluster: &Cluster) -> Vec<String> {
    let labels = |workload: &Value| workload["spec"]["template"]["metadata"]["labels"].clone();
    let worker = cluster.of("Deployment").map(labels).next().unwrap_or_default();
    let selects = |selector: &Value, labels: &Value| {
        let wanted = selector["matchLabels"].as_object();
        wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
    };
    let mut all: Vec<(String, &Value)> = Vec::new();
    for deployment in cluster.of("Deployment") {
        all.push(("Deployment".to_owned(), &deployment["spec"]["selector"]));
        let spread = deployment.pointer("/spec/template/spec/topologySpreadConstraints");
        let spread = spread.and_then(Value::as_array).into_iter().flatten();
        all.extend(spread.map(|rule| ("topologySpreadConstraints".to_owned(), &rule["labelSelector"])));
    }
    let budgets = cluster.of("PodDisruptionBudget");
    all.extend(budgets.map(|budget| ("PodDisruptionBudget".to_owned(), &budget["spec"]["selector"])));
    let wrong = all.iter().filter(|(_, selector)| {
        !selects(selector, &worker) || cluster.of("Job").any(|job| selects(selector, &labels(job)))
    });
    wrong
        .map(|(kind, selector)| format!("{kind}: {selector} does not select the workers alone"))
        .collect()
}

/// Faults of the retry rules: the job fails at once exactly for errors that another try does not change.
fn tries(job: &Value) -> Vec<String> {
    let final_exits = [
        Exit::Usage,
        Exit::BadInput,
        Exit::Nothing,
        Exit::Failed,
        Exit::Failures,
        Exit::Budget,
        Exit::Deadline,
        Exit::NoRoute,
        Exit::OtherRun,
        Exit::Output,
    ];
    let expected = json!(final_exits.map(Exit::code));
    let container = &job["spec"]["template"]["spec"]["containers"][0]["name"];
    let rules = job["spec"]["podFailurePolicy"]["rules"]
        .as_array()
        .into_iter()
        .flatten();
    let codes: Vec<&Value> = rules
        .map(|rule| &rule["onExitCodes"])
        .filter(|codes| codes.is_object())
        .collect();
    match codes[..] {
        [codes] if codes["values"] == expected && codes["containerName"] == *container => Vec::new(),
        _ => vec![format!(
            "Job: is not given up for {expected} of {container}, but for {codes:?}"
        )],
    }
}
