//! `nova3 report`: the page, its file, and what it never has.

use std::os::unix::fs::symlink;

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::{Harness, lines, question, questions, setup, setup_with};
use crate::cli::model::{good, refuses, says, setup_saying};
use crate::cli::provider::Scripted;

/// The JSON of a script element of a page.
pub(crate) fn element(page: &str, id: &str) -> Value {
    let begin = format!("<script type=\"application/json\" id=\"{id}\">");
    let (_, after) = page.split_once(&begin).unwrap();
    let (text, _) = after.split_once("</script>").unwrap();
    serde_json::from_str(text).unwrap()
}

/// The page of the last run.
fn page(harness: &Harness, args: &[&str]) -> String {
    let ran = harness.nova3(&[&["report", "-o", "report.html"], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    harness.read("report.html")
}

const PRICES: &str = "model = \"m\"\ninput_usd_per_million = 1.0\noutput_usd_per_million = 10.0\nrpm = 900\n\
                      [retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n";

/// A run of three good requests, one refused one, and a bad line.
fn finished() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call| {
        if call.user().contains("question 3") {
            refuses(400, "the server said wallaby")
        } else {
            good(call)
        }
    });
    harness.write(
        "nova3.toml",
        format!("[routes.a]\nbase_url = \"{}\"\n{PRICES}\n", model.base_url()),
    );
    harness.write("in.jsonl", format!("{}not json\n", questions(4)));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    (harness, model)
}

#[test]
fn a_page_has_the_figures_of_its_run() {
    let (harness, _model) = finished();
    let ran = harness.nova3(&["report", "-o", "report.html"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""));
    assert!(ran.err.starts_with("report: DIR/report.html ("), "{}", ran.err);
    let page = harness.read("report.html");
    let data = element(&page, "data");
    let counts = &data["counts"];
    assert_eq!(
        [
            &counts["total"],
            &counts["done"],
            &counts["failed"],
            &counts["left"]
        ],
        [5, 3, 2, 0]
    );
    let sums = &data["sums"];
    assert_eq!(
        [&sums["calls"], &sums["failed_calls"], &sums["input"]],
        [4, 1, 300]
    );
    assert!((sums["cost"].as_f64().unwrap() - 0.0006).abs() < 1e-9, "{sums}");
    let agent = &data["groups"]["agent"][0];
    assert_eq!(
        (&agent["name"], &agent["calls"], &agent["failed"]),
        (&json!("answer"), &json!(4), &json!(1))
    );
    assert_eq!(data["latency"]["agent"][0]["whole"]["count"], 3, "answered calls");
    let failures = &data["failures"][0];
    assert_eq!(
        (&failures["class"], &failures["requests"]),
        (&json!("bad_request"), &json!(2))
    );
    assert_eq!(
        failures["examples"].as_array().unwrap().len(),
        2,
        "one of each kind"
    );
    assert_eq!(
        (
            &data["rates"][0]["route"],
            &data["rates"][0]["rpm"],
            &data["limits_of"]
        ),
        (&json!("a"), &json!(900), &json!("settings"))
    );
    assert_eq!(data["rows"].as_array().unwrap().len(), 5);
    let details = element(&page, "details");
    let first = &details[usize::try_from(data["rows"][0][13].as_u64().unwrap()).unwrap()];
    assert_eq!(first["request"]["query"], "question 1");
    assert_eq!(first["tasks"][0]["items"][0]["content"], "answer of question 1");
}

#[test]
fn a_page_without_texts_has_none_of_them() {
    let (harness, _model) = setup_saying(|call| match call.user() {
        user if user.contains("failing") => refuses(400, "the server said wallaby"),
        _ => says(
            json!({"items": [{"content": "an answer of quokka", "source": "s1", "quote": "kookaburra"}]})
                .to_string(),
        ),
    });
    let line = |id: &str, query: &str| {
        json!({"custom_id": id, "query": query, "tasks": [{"action": "facts", "input": "instruction platypus"}],
            "metadata": {"note": "wombat"}, "background": {"account_name": "echidna"}})
    };
    harness.write(
        "in.jsonl",
        format!(
            "{}\n{}\ndingo\n",
            line("good", "query numbat"),
            line("bad", "failing bilby")
        ),
    );
    harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    let secret = [
        "numbat",
        "bilby",
        "platypus",
        "wombat",
        "echidna",
        "wallaby",
        "quokka",
        "kookaburra",
        "dingo",
    ];
    let shown = page(&harness, &[]);
    for word in [
        "numbat", "bilby", "platypus", "wombat", "echidna", "wallaby", "quokka", "dingo",
    ] {
        assert!(shown.contains(word), "{word} is on an ordinary page");
    }
    let page = page(&harness, &["--no-text"]);
    for word in secret {
        assert!(!page.contains(word), "{word}");
    }
    let data = element(&page, "data");
    assert_eq!(
        (&data["rows"][0][1], &data["hides_texts"]),
        (&json!("good"), &json!(true))
    );
    assert_eq!(data["failures"][0]["class"], "bad_request");
    let details = element(&page, "details");
    let ids: Vec<&Value> = details
        .as_array()
        .unwrap()
        .iter()
        .map(|detail| &detail["tasks"][0]["ids"])
        .collect();
    assert!(ids.contains(&&json!(["fact1"])), "ids remain: {ids:?}");
}

#[test]
fn no_text_becomes_an_element_of_the_page() {
    let evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>{{ 7*7 }}\u{2028}\u{202e}";
    let (harness, _model) = setup_saying(move |_| says(evil));
    let line = json!({"custom_id": evil, "query": evil, "tasks": ["answer"], "metadata": {evil: evil}});
    harness.write("in.jsonl", format!("{line}\n{}", question("plain", "q")));
    let ran = harness.nova3(&[
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--run",
        "<script>alert(3)</script>",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let page = page(&harness, &[]);
    assert_eq!(page.matches("<script").count(), 3, "data, details, script");
    assert_eq!(page.matches("</script").count(), 3);
    assert!(!page.contains("<!--<img") && !page.contains(['\u{2028}', '\u{202e}']));
    assert!(
        page.contains("&lt;script&gt;alert(3)&lt;&#x2f;script&gt;"),
        "the title"
    );
    let details = element(&page, "details").to_string();
    assert!(
        details.contains("<img src=x onerror=alert(2)>{{ 7*7 }}"),
        "it is shown as text"
    );
}

#[test]
fn a_report_replaces_a_report_and_nothing_else() {
    let (harness, _model) = finished();
    harness.write("notes.html", "<!doctype html>\nmine");
    harness.write("empty.html", "");
    symlink(harness.path("notes.html"), harness.path("link.html")).unwrap();
    for (target, code, message) in [
        ("notes.html", 110, "holds something else than a report"),
        ("link.html", 110, "is a link"),
        (".", 110, "is a folder or a device"),
        ("nova3.db", 110, "holds something else than a report"),
        ("no/such/folder.html", 110, "its folder cannot be used"),
    ] {
        let ran = harness.nova3(&["report", "-o", target]);
        assert_eq!(ran.code, Some(code), "{target}: {}", ran.err);
        assert!(ran.err.contains(message), "{target}: {}", ran.err);
    }
    assert_eq!(harness.read("notes.html"), "<!doctype html>\nmine");
    for _ in 0..2 {
        assert_eq!(harness.nova3(&["report", "-o", "empty.html"]).code, Some(0));
    }
    let piped = harness.nova3(&["report"]);
    assert_eq!(piped.code, Some(0), "{}", piped.err);
    assert!(
        piped.out.starts_with("<!doctype html>\n<!-- nova3 report -->"),
        "to a pipe"
    );
    assert_eq!(
        harness.nova3(&["report", "-o", "-", "-q"]).out.len(),
        piped.out.len()
    );
    let left: Vec<String> = std::fs::read_dir(harness.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".nova3-report"))
        .collect();
    assert_eq!(left, [""; 0], "no temporary file is left");
}

#[test]
fn a_run_that_goes_on_or_has_no_prices_has_a_page() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", questions(3));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--limit", "1"]);
    assert_eq!(ran.code, Some(101), "{}", ran.err);
    let data = element(&page(&harness, &[]), "data");
    assert_eq!(
        (&data["counts"]["left"], &data["sums"]["cost"]),
        (&json!(2), &Value::Null)
    );
    let ran = harness.nova3(&["report", "-o", "r.html", "--run", "unknown"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    let nothing = setup().nova3(&["report", "-o", "r.html"]);
    assert_eq!(nothing.code, Some(4), "{}", nothing.err);
}

#[test]
fn two_runs_stand_side_by_side() {
    let (harness, _model) = setup_saying(|call| {
        let is_second = call.system().contains("SECOND");
        match (is_second, call.user().contains("changing")) {
            (true, true) => says("the new <b>text</b>"),
            (false, true) => says("the old <b>text</b>"),
            _ => says("the same text"),
        }
    });
    let run = |name: &str, system: &str, rows: &[(&str, &str)]| {
        let text: Vec<String> = rows
            .iter()
            .map(|(id, text)| {
                let id = (!id.is_empty()).then_some(*id);
                format!("{}\n", json!({"custom_id": id, "query": text}))
            })
            .collect();
        let file = format!("{name}.jsonl");
        harness.write(&file, text.concat());
        let ask = ["--ask", "{{ query }}", "--system", system];
        let ran = harness.nova3(
            &[
                &["run", &file, "--run", name, "-o", &format!("{name}.out")][..],
                &ask,
            ]
            .concat(),
        );
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    };
    run(
        "one",
        "FIRST",
        &[("a", "changing"), ("b", "equal"), ("", "no id"), ("gone", "x")],
    );
    run(
        "two",
        "SECOND",
        &[("", "no id"), ("b", "equal"), ("a", "changing"), ("new", "x")],
    );
    let page = page(&harness, &["--compare", "one", "two"]);
    let data = element(&page, "data");
    assert_eq!(
        (&data["kind"], &data["pairs"], &data["changed"]),
        (&json!("compare"), &json!(5), &json!(3))
    );
    assert_eq!(
        data["joined"],
        json!({"id": 2, "content": 1, "place": 0, "alone": 2})
    );
    let names: Vec<(&Value, &Value)> = data["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row[0], &row[2]))
        .collect();
    assert_eq!(names[0], (&json!("a"), &json!(true)), "changed ones first");
    let texts = element(&page, "details");
    assert_eq!(texts[0], json!(["the old <b>text</b>", "the new <b>text</b>"]));
    assert_eq!(data["runs"][0]["sums"]["calls"], 4);
    let without = harness.nova3(&["report", "-o", "-", "--no-text", "--compare", "one", "two"]);
    assert!(!without.out.contains("the old"), "no text");
    assert!(lines(&harness.read("one.out")).len() == 4);
    let ran = harness.nova3(&["report", "-o", "-", "--compare", "one"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}
