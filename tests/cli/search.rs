//! `nova3 search`: a provider is tried by hand.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, setup};
use crate::cli::provider::{Say, Scripted};

/// A folder with one provider, `mine`, at this server.
fn with_provider(server: &Scripted) -> Harness {
    let harness = setup();
    std::fs::create_dir(harness.path("providers")).unwrap();
    let file = format!(
        r#"name = "mine"
url = "{}/search"
[query]
q = "{{{{ query }}}}"
[answer]
code = ["/code"]
message = ["/message"]
items = ["/items"]
[item]
title = ["/title"]
url = ["/url"]
text = ["/text"]
[cost]
usd = 0.002
"#,
        server.base_url()
    );
    harness.write("providers/mine.toml", file);
    harness.write(
        "nova3.toml",
        "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n[search]\nfolder = \"providers\"\nproviders = [\"jina\", \"mine\", \"default\"]\n",
    );
    harness
}

fn saying(status: u16, body: &Value) -> Scripted {
    let body = body.to_string();
    Scripted::start(move |_| Say {
        status,
        headers: "",
        body: body.clone(),
    })
}

fn json_of(ran: &Ran) -> Value {
    let mut object: Value = serde_json::from_str(&ran.out).unwrap();
    for attempt in object["attempts"].as_array_mut().unwrap() {
        attempt.as_object_mut().unwrap().remove("elapsed_ms");
    }
    object
}

#[test]
fn a_search_shows_what_was_found_and_who_answered() {
    let server = saying(
        200,
        &json!({"items": [
            {"title": "Oats\u{1b}[31m", "url": "https://example.com/1", "text": "about\n<b>oats</b>"},
            {"title": "More", "text": "x"},
        ]}),
    );
    let harness = with_provider(&server);
    let ran = harness.nova3(&["search", "oat milk"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (
            Some(0),
            "s1  Oats[31m\n    https://example.com/1\n    about oats\n\ns2  More\n    x\n\n",
            "`jina` was not asked: it has no key (set the variable `JINA_API_KEY`)\n\
             `mine` answered: 2 results, cost $0.0020 (degraded: not the first link of the chain)\n"
        )
    );
    let ran = harness.nova3(&[
        "search",
        "oat milk",
        "--provider",
        "mine",
        "--limit",
        "1",
        "--json",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let object = json_of(&ran);
    assert_eq!(
        object,
        json!({
            "query": "oat milk", "provider": "mine", "found_by": null, "looked_up": true, "degraded": false, "age_s": null,
            "cost_usd": 0.002,
            "items": [{"id": "s1", "title": "Oats[31m", "url": "https://example.com/1", "text": "about\noats",
                "published_at": null, "hash": object["items"][0]["hash"]}],
            "attempts": [{"link": "mine", "tries": 1, "failure": null, "cost_usd": 0.002}],
            "pages": [],
        })
    );
}

#[test]
fn material_that_nobody_looked_up_is_labelled() {
    let harness = with_provider(&saying(500, &json!({"message": "ill"})));
    let ran = harness.nova3(&["search", "oat milk"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out
            .starts_with("s1  没有检索到资料 (nothing was looked up)\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.err.contains("`mine` failed after 3 tries: HTTP 500: ill\n")
            && ran
                .err
                .contains("(nothing was looked up: the material is that of `material.toml`)"),
        "{}",
        ran.err
    );
    let object = json_of(&harness.nova3(&["search", "oat milk", "--json"]));
    assert_eq!(
        (&object["looked_up"], &object["provider"]),
        (&json!(false), &json!("default"))
    );
}

#[test]
fn a_search_that_fails_says_why() {
    let harness = with_provider(&saying(200, &json!({"items": []})));
    let ran = harness.nova3(&["search", "oat milk", "--provider", "mine"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (
            Some(4),
            "",
            "`mine` failed after 1 try: no results\nnova3: the search has no results (try other words)\n"
        )
    );
    let ran = harness.nova3(&["search", "oat milk", "--provider", "jina"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(105),
            "`jina` was not asked: it has no key (set the variable `JINA_API_KEY`)\n\
             nova3: no search provider answered (set a key, or name other providers in `search.providers`)\n"
        )
    );
    let ran = harness.nova3(&["search", "oat milk", "--provider", "jina", "--json"]);
    assert_eq!(json_of(&ran)["attempts"][0]["failure"]["kind"], "no_key");
}

#[test]
fn wrong_flags_and_files_are_usage() {
    let harness = with_provider(&saying(200, &json!({})));
    for (args, message) in [
        (
            &["search", "oat", "--provider", "nowhere"][..],
            "nova3: `--provider`: there is no search provider `nowhere` (known: `jina`, ",
        ),
        (
            &["search", "oat", "--provider", "cached"],
            "nova3: `--provider cached` has no answer: each `nova3 search` begins with an empty cache (name another \
             provider, or `default`)\n",
        ),
        (
            &["search", "oat", "--limit", "0"],
            "nova3: `--limit` is `0`: expected 1 to 50\n",
        ),
        (
            &["search", "oat", "--pages", "6"],
            "nova3: `--pages` is `6`: expected 0 to 5\n",
        ),
        (&["search", " \u{200b}"], "nova3: the query has no words\n"),
    ] {
        let ran = harness.nova3(args);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.starts_with(message), "{}", ran.err);
    }
    let settings = std::fs::read_to_string(harness.path("nova3.toml")).unwrap();
    for (pem, problem) in [
        ("no certificate", "it holds no PEM certificate"),
        ("", "it holds no PEM certificate"),
    ] {
        harness.write("ca.pem", pem);
        harness.write("nova3.toml", format!("{settings}[http]\nca_file = \"ca.pem\"\n"));
        let ran = harness.nova3(&["search", "oat"]);
        let expected = format!("nova3: search file `nova3.toml`: `http.ca_file` `ca.pem`: {problem}\n");
        assert_eq!((ran.code, ran.err), (Some(2), expected));
    }
    harness.write("nova3.toml", settings);
    harness.write("providers/mine.toml", "name = \"mine\"\nspeed = 1\n");
    let ran = harness.nova3(&["search", "oat"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.starts_with(
            "nova3: search file `providers/mine.toml` line 2: unknown field `speed`, expected one of `name`, "
        ),
        "{}",
        ran.err
    );
}
