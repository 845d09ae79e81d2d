//! Tasks that fan out: one call for each profile, several samples of one answer, and what a failed part does.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nova3::domain::outcome::{NewItem, Product, Provenance};
use nova3::store::sqlite::SqliteStore;
use nova3::store::{Claimable, Lease, Owner, Settled, Settlement, Store, Then, Upkeep};
use serde_json::{Value, json};

use crate::cli::harness::{Harness, Running, setup, until};
use crate::cli::model::{Call, calls, good, good_text, refuses, says, setup_saying};
use crate::cli::provider::{Say, Scripted, answer, read_request};

const PROFILES: [&str; 5] = ["精致妈妈", "大学生", "职场新人", "银发族", "健身党"];

/// A request that has selected this many profiles.
fn request(profiles: usize, tasks: &[&str]) -> String {
    let profile = |(number, title): (usize, &&str)| json!({"id": format!("profile{number}"), "title": title, "content": "c"});
    let chosen: Vec<Value> = (1..).zip(&PROFILES[..profiles]).map(profile).collect();
    let line = json!({"custom_id": "a", "session_id": "s", "query": "q", "tasks": tasks,
        "nova3_selections": {"nova3_profile": chosen}});
    format!("{line}\n")
}

/// The numbers of the profiles in a prompt.
fn profiles_in(user: &str) -> Vec<usize> {
    let named = |number: &usize| user.contains(&format!("<<<profile{number}\n"));
    (1..=PROFILES.len()).filter(named).collect()
}

/// An answer about the profile of the call, repeated this often.
fn about(call: &Call, times: usize) -> Say {
    let profile = profiles_in(call.user()).first().copied();
    let Some(profile) = profile.filter(|_| call.action() == "insight") else {
        return good(call);
    };
    let item = |number: usize| {
        json!({"title": format!("{}: {number}", PROFILES[profile - 1]),
        "content": format!("content {number} of {profile}"), "kind": "情绪", "basis": "b"})
    };
    let items: Vec<Value> = (1..=times).map(item).collect();
    says(json!({ "items": items }).to_string())
}

fn only_line(harness: &Harness) -> Value {
    let mut lines = harness.results("out.jsonl");
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// A provider that holds the calls about some profiles until the gate is opened.
struct Gate {
    address: SocketAddr,
    shared: Arc<(Mutex<Calls>, Condvar)>,
}

#[derive(Default)]
struct Calls {
    /// Calls for each profile, answered or not.
    asked: BTreeMap<usize, usize>,
    is_open: bool,
}

impl Gate {
    /// Starts a provider that answers calls about the first `free` profiles at once.
    fn start(free: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new((Mutex::new(Calls::default()), Condvar::new()));
        let own = Arc::clone(&shared);
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                std::thread::spawn(move || one(stream, &shared, free));
            }
        });
        Self { address, shared }
    }

    fn asked(&self) -> BTreeMap<usize, usize> {
        self.shared.0.lock().unwrap().asked.clone()
    }

    fn open(&self) {
        self.shared.0.lock().unwrap().is_open = true;
        self.shared.1.notify_all();
    }
}

fn one(stream: TcpStream, (calls, opened): &(Mutex<Calls>, Condvar), free: usize) {
    let (_, body) = read_request(&stream);
    let call = Call::of(&body);
    let profiles = profiles_in(call.user());
    let profile = if profiles.len() == 1 { profiles[0] } else { 0 };
    let mut calls = calls.lock().unwrap();
    *calls.asked.entry(profile).or_default() += 1;
    while profile > free && !calls.is_open {
        calls = opened.wait(calls).unwrap();
    }
    drop(calls);
    answer(stream, &about(&call, 1));
}

fn at(gate: &Gate) -> Harness {
    setup()
        .with("OPENAI_BASE_URL", &format!("http://{}/v1", gate.address))
        .with("OPENAI_MODEL", "m")
}

#[test]
fn five_profiles_are_asked_about_at_once_and_joined_in_their_order() {
    let gate = Gate::start(0);
    let harness = at(&gate);
    harness.write("in.jsonl", request(5, &["insight"]));
    let running = Running::start(harness.command(&RUN));
    // No answer is sent before all five calls have arrived.
    until("five calls at once", || gate.asked().len() == 5);
    gate.open();
    assert_eq!(running.output().status.code(), Some(0));
    let line = only_line(&harness);
    let items = line["output"].as_array().unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| {
            (
                item["id"].as_str().unwrap(),
                item["profile"].as_str().unwrap(),
                item["profile_title"].as_str().unwrap(),
            )
        })
        .collect();
    let expected: Vec<_> = (1..)
        .zip(PROFILES)
        .map(|(number, title)| (format!("insight{number}"), format!("profile{number}"), title))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(id, profile, title)| (id.as_str(), profile.as_str(), *title))
        .collect();
    assert_eq!(told, expected);
    let task = &line["tasks"][0];
    assert_eq!(
        (&task["attempts"], &task["usage"]["output_tokens"]),
        (&json!(5), &json!(50))
    );
    let parts = task["parts"].as_array().unwrap();
    let names: Vec<_> = parts
        .iter()
        .map(|part| part["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["task001.1", "task001.2", "task001.3", "task001.4", "task001.5"]
    );
    assert_eq!(harness.nova3(&["verify", "--store-check"]).code, Some(0));
}

#[test]
fn a_kill_between_parts_repeats_only_those_in_flight() {
    let gate = Gate::start(2);
    let harness = at(&gate);
    harness.write("in.jsonl", request(5, &["insight", "hitpoint"]));
    let running = Running::start(harness.command(&RUN));
    until("five calls", || gate.asked().len() == 5);
    let settled = || {
        let store = rusqlite::Connection::open(harness.path("nova3.db")).unwrap();
        let sql = "SELECT count(*) FROM nova3_tasks WHERE status='completed'";
        store
            .query_row(sql, [], |row| row.get(0))
            .is_ok_and(|count: i64| count == 2)
    };
    until("two settled parts", settled);
    drop(running);
    gate.open();
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    let asked = gate.asked();
    let of_profiles: Vec<usize> = (1..=5).map(|profile| asked[&profile]).collect();
    assert_eq!(
        of_profiles,
        [1, 1, 2, 2, 2],
        "an answer that is stored is not paid again"
    );
    let line = only_line(&harness);
    let ids: Vec<_> = line["tasks"][0]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].clone())
        .collect();
    assert_eq!(ids, ["insight1", "insight2", "insight3", "insight4", "insight5"]);
}

#[test]
fn each_profile_has_its_share_of_the_results() {
    let (harness, model) = setup_saying(|call| about(call, 5));
    harness.write("in.jsonl", request(2, &["insight"]));
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    let line = only_line(&harness);
    let profiles: Vec<_> = line["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["profile"].clone())
        .collect();
    assert_eq!(
        profiles,
        ["profile1", "profile1", "profile1", "profile2", "profile2"]
    );
    let asked: Vec<Vec<usize>> = calls(&model)
        .iter()
        .map(|call| profiles_in(call.user()))
        .collect();
    let mut each = asked.clone();
    each.sort();
    assert_eq!(each, [vec![1], vec![2]], "a call knows its own profile only");
}

#[test]
fn one_profile_is_one_call() {
    let (harness, model) = setup_saying(|call| about(call, 1));
    harness.write("in.jsonl", request(1, &["insight"]));
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    assert_eq!(model.bodies().len(), 1);
    let line = only_line(&harness);
    assert_eq!(line["tasks"][0].get("parts"), None);
}

/// A model that refuses one profile while `broken` says so.
fn setup_refusing(profile: usize) -> (Harness, Scripted, Arc<Mutex<bool>>) {
    let broken = Arc::new(Mutex::new(true));
    let is_broken = Arc::clone(&broken);
    let (harness, model) = setup_saying(move |call| {
        if profiles_in(call.user()) == [profile] && *is_broken.lock().unwrap() {
            return refuses(400, "no such profile");
        }
        about(call, 1)
    });
    (harness, model, broken)
}

#[test]
fn a_failed_part_fails_its_request_and_is_retried_alone() {
    let (harness, model, broken) = setup_refusing(2);
    harness.write("in.jsonl", request(3, &["insight", "hitpoint"]));
    assert_eq!(harness.nova3(&RUN).code, Some(100));
    let line = only_line(&harness);
    assert_eq!(
        (&line["status"], &line["tasks"][1]["status"]),
        (&json!("failed"), &json!("skipped"))
    );
    let message = line["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("1 part of 3 failed: task001.2 (profile2)"),
        "{message}"
    );
    assert_eq!(line["tasks"][0]["parts"][1]["error"]["class"], "bad_request");
    assert_eq!(
        line["tasks"][0]["parts"][2]["status"], "completed",
        "its siblings finish"
    );
    let before = model.bodies().len();
    *broken.lock().unwrap() = false;
    assert_eq!(
        harness.nova3(&[&RUN[..], &["--retry-failed"]].concat()).code,
        Some(0)
    );
    let again = &calls(&model)[before..];
    let asked: Vec<_> = again
        .iter()
        .map(|call| (call.action().to_owned(), profiles_in(call.user())))
        .collect();
    assert_eq!(asked[0], ("insight".to_owned(), vec![2]));
    assert_eq!(asked.len(), 2, "and the task behind it: {asked:?}");
    let line = only_line(&harness);
    let profiles: Vec<_> = line["tasks"][0]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["profile"].clone())
        .collect();
    assert_eq!(profiles, ["profile1", "profile2", "profile3"]);
}

#[test]
fn a_run_that_goes_on_takes_the_parts_that_there_are() {
    let (harness, _model, broken) = setup_refusing(2);
    harness.write("in.jsonl", request(3, &["insight", "hitpoint"]));
    let run = [&RUN[..], &["--on-task-failure", "continue"]].concat();
    let ran = harness.nova3(&run);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let line = only_line(&harness);
    assert_eq!((&line["status"], &line["ok"]), (&json!("partial"), &json!(false)));
    let statuses: Vec<_> = line["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["status"].clone())
        .collect();
    assert_eq!(statuses, ["completed", "completed"]);
    assert_eq!(line["tasks"][0]["result"].as_array().unwrap().len(), 2);
    assert!(
        line["warnings"][0]
            .as_str()
            .unwrap()
            .contains("a part failed and is left out: task001.2"),
        "{line}"
    );
    assert_eq!(harness.status(&[])["partial"], 1);
    *broken.lock().unwrap() = false;
    assert_eq!(
        harness.nova3(&run).code,
        Some(100),
        "failed is final until a retry"
    );
}

#[test]
fn a_failed_task_is_left_behind_where_the_run_goes_on() {
    let (harness, _model) = setup_saying(|call| {
        if call.action() == "insight" {
            refuses(400, "no insight")
        } else {
            good(call)
        }
    });
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"q\",\"tasks\":[\"insight\",\"hitpoint\"]}\n",
    );
    let ran = harness.nova3(&[&RUN[..], &["--on-task-failure", "continue"]].concat());
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let line = only_line(&harness);
    assert_eq!(
        (&line["status"], &line["error"]["task_id"]),
        (&json!("partial"), &json!("task001"))
    );
    assert_eq!(line["output"][0]["id"], "hitpoint1");
    let refused = harness.nova3(&[&RUN[..], &["--on-task-failure", "maybe"]].concat());
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("`fail` or `continue`"), "{}", refused.err);
}

/// An agent `answer` with three samples for each task.
const SAMPLES: &str = "action = \"answer\"\nmax_tokens = 100\nmax_results = 4\nsamples = 3\nkeep = \"KEEP\"\n\
    system = \"s\"\nuser = \"{{ input | fenced('任务') }}\"\nsampling = { seed = 7 }\n\
    schema = '{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\
    \"properties\":{\"content\":{\"type\":\"string\"}},\"required\":[\"content\"],\"additionalProperties\":false}}},\
    \"required\":[\"items\"],\"additionalProperties\":false}'\n";

fn with_samples(harness: &Harness, keep: &str) {
    std::fs::create_dir_all(harness.path("agents")).unwrap();
    harness.write("agents/answer.toml", SAMPLES.replace("KEEP", keep));
    let settings = harness.read("nova3.toml");
    harness.write("nova3.toml", format!("[agents]\nfolder = \"agents\"\n{settings}"));
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"q\",\"tasks\":[\"answer\"]}\n",
    );
}

fn contents(line: &Value) -> Vec<String> {
    let items = line["output"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["content"].as_str().unwrap().to_owned())
        .collect()
}

/// Two items: one is equal in all samples, the other is different in each.
fn sample(call: &Call) -> Say {
    let seed = &call.body()["seed"];
    says(json!({"items": [{"content": "the same"}, {"content": format!("seed {seed}")}]}).to_string())
}

#[test]
fn samples_are_merged_or_all_kept() {
    let (harness, model) = setup_saying(sample);
    with_samples(&harness, "merged");
    let ran = harness.nova3(&RUN);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(model.bodies().len(), 3);
    assert_eq!(
        contents(&only_line(&harness)),
        ["the same", "seed 7", "seed 8", "seed 9"]
    );
    let (harness, _model) = setup_saying(sample);
    with_samples(&harness, "all");
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    let all = ["the same", "seed 7", "the same", "seed 8", "the same", "seed 9"];
    assert_eq!(contents(&only_line(&harness)), all);
}

#[test]
fn a_failed_sample_is_a_warning_while_one_is_good() {
    let (harness, _model) = setup_saying(|call| match call.body()["seed"].as_u64() {
        Some(8) => refuses(400, "not this one"),
        _ => sample(call),
    });
    with_samples(&harness, "merged");
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    let line = only_line(&harness);
    assert_eq!((&line["status"], contents(&line).len()), (&json!("completed"), 3));
    assert!(
        line["warnings"].to_string().contains("task001.2"),
        "{}",
        line["warnings"]
    );
    let (harness, _model) = setup_saying(|_| refuses(400, "none of them"));
    with_samples(&harness, "merged");
    assert_eq!(harness.nova3(&RUN).code, Some(100));
    let line = only_line(&harness);
    assert!(
        line["error"]["message"]
            .as_str()
            .unwrap()
            .contains("3 parts of 3 failed"),
        "{line}"
    );
    assert_eq!(line["error"]["causes"].as_array().unwrap().len(), 3);
}

#[test]
fn an_agent_that_fans_out_in_two_ways_is_refused() {
    let harness = setup();
    for (more, wrong) in [
        (
            "for_each = \"profile\"\nsamples = 2",
            "`for_each` does not go with `samples`",
        ),
        ("samples = 1", "`samples` is 1, expected 2 to 10"),
        ("keep = \"all\"", "`keep` needs `samples`"),
        (
            "samples = 2\nkeep = \"best\"",
            "`keep` is `best`, expected `all` or `merged`",
        ),
        ("for_each = \"Profile 1\"", "`for_each` is `Profile 1`"),
    ] {
        std::fs::create_dir_all(harness.path("agents")).unwrap();
        let agent = format!("action = \"answer\"\nmax_tokens = 9\n{more}\nsystem = \"s\"\nuser = \"u\"\n");
        harness.write("agents/answer.toml", agent);
        harness.write("nova3.toml", "[agents]\nfolder = \"agents\"\n");
        let ran = harness.nova3(&["agents", "list"]);
        assert_eq!(ran.code, Some(2), "{more}");
        assert!(
            ran.err.contains(wrong) && ran.err.contains("line "),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_prompt_is_shown_for_each_part() {
    let (harness, _model) = setup_saying(good);
    harness.write("in.jsonl", request(2, &["insight"]));
    let ran = harness.nova3(&["plan", "in.jsonl", "--show-prompt", "a"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let (first, second) = ran.out.split_once("task001.2").unwrap();
    assert!(first.contains("task001.1"), "{first}");
    assert_eq!((profiles_in(first), profiles_in(second)), (vec![1], vec![2]));
}

#[test]
fn text_of_a_part_that_says_nothing_is_no_item() {
    let (harness, _model) = setup_saying(|call| {
        if profiles_in(call.user()) == [1] {
            says("{\"items\":[]}")
        } else {
            says(good_text(call))
        }
    });
    harness.write("in.jsonl", request(2, &["insight"]));
    assert_eq!(harness.nova3(&RUN).code, Some(100));
    let line = only_line(&harness);
    assert_eq!(line["tasks"][0]["parts"][0]["error"]["class"], "schema");
}

/// Submits the only request to an outside job with the handle `job1`. Returns the lease that settles it.
fn submit(harness: &Harness) -> Lease {
    at_store(harness, async |store| {
        let run = store.find_run(None).await.unwrap().unwrap().id;
        let owner = Owner("a test".to_owned());
        let claims = store.claim(run, &owner, Claimable::All, 1, 1000).await.unwrap();
        let lease = claims.queues[0].lease;
        assert!(store.submit(lease, "job1").await.unwrap());
        lease
    })
}

/// Opens the store of a run that has ended, and calls `work` with it.
fn at_store<T>(harness: &Harness, work: impl AsyncFnOnce(&dyn Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = SqliteStore::open(&harness.path("nova3.db"), Duration::ZERO, "a test").unwrap();
    runtime.block_on(async {
        let done = work(&store).await;
        store.close().await.unwrap();
        done
    })
}

#[test]
fn a_run_waits_for_an_outside_job_until_its_deadline() {
    let (harness, model) = setup_saying(|_| refuses(401, "no such key"));
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"q\",\"tasks\":[\"answer\"]}\n",
    );
    // The only route is dead, so the request stays unfinished.
    assert_eq!(harness.nova3(&RUN).code, Some(105));
    let lease = submit(&harness);
    let asked = model.bodies().len();
    let waited = harness.nova3(&[&RUN[..], &["--deadline", "1s"]].concat());
    assert_eq!(waited.code, Some(104), "{}", waited.err);
    assert_eq!(
        (model.bodies().len(), &harness.status(&[])["left"]),
        (asked, &json!(1)),
        "no request asks for it"
    );
    let item = NewItem {
        kind: "answer".to_owned(),
        body: json!({"content": "c"}).as_object().unwrap().clone(),
    };
    let making = Provenance::without_calls("outside".to_owned(), "m".to_owned());
    let found = Settlement::completed(lease, 0, Product::Items(vec![item]), Then::GoOn, making, vec![]);
    let settled = at_store(&harness, async |store| {
        store.settle(found.of_handle("job1".to_owned())).await.unwrap()
    });
    assert_eq!(settled, Settled::Finished { ok: true });
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    assert_eq!(model.bodies().len(), asked);
    assert_eq!(only_line(&harness)["output"][0]["id"], "answer1");
}
