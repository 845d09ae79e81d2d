//! The report in Chromium.

use nova3::mock::{Faults, MockConfig};
use serde_json::{Value, json};

use crate::cli::harness::{Harness, Running, questions, setup_with};
use crate::cli::model::{Call, item, refuses, says, setup_saying};
use crate::cli::provider::Scripted;
use crate::observers::browser::Browser;

/// Widths of a phone and of a desk.
const WIDTHS: [u32; 2] = [400, 1280];

fn report(harness: &Harness, args: &[&str]) {
    let ran = harness.nova3(&[&["report", "-o", "report.html"], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

/// The names of the rows that are shown.
fn names(browser: &Browser) -> Vec<String> {
    let names =
        browser.run("return [...document.querySelectorAll('tr.request')].map((row) => row.dataset.id)");
    serde_json::from_value(names).unwrap()
}

/// Types into the search and waits for the outcome.
fn search(browser: &Browser, words: &str, rows: usize) {
    let words = Value::from(words);
    browser.run(&format!(
        "const field = document.getElementById('search'); field.value = {words}; field.dispatchEvent(new Event('input'))"
    ));
    browser.until(&format!(
        "return document.querySelectorAll('tr.request').length === {rows}"
    ));
}

/// Checks that nothing went wrong in the page and that it asked for nothing.
fn is_well(browser: &Browser) {
    assert_eq!(browser.console(), [""; 0]);
    assert_eq!(browser.requests(), [""; 0]);
}

/// Checks that the page is not wider than its window.
fn fits(browser: &Browser) {
    let width = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]");
    assert!(width[0].as_u64() <= width[1].as_u64(), "{width}");
}

fn text_of(browser: &Browser, selector: &str) -> String {
    let script = format!("return document.querySelector('{selector}').innerText");
    browser.run(&script).as_str().unwrap().to_owned()
}

/// Opens the details of a request, and returns their text.
fn opened(browser: &Browser, id: &str) -> String {
    let id = Value::from(id);
    let script = format!(
        "const row = [...document.querySelectorAll('tr.request')].find((row) => row.dataset.id === {id});
         const button = row.querySelector('.opener');
         if (button.getAttribute('aria-expanded') !== 'true') button.click();
         return row.nextSibling.innerText"
    );
    browser.run(&script).as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs Chromium (scripts/test-observers)"]
fn search_filters_and_rows_work() {
    let (harness, _model) = setup_saying(|call| {
        if call.user().contains("fails") {
            return refuses(400, "no such thing");
        }
        let schema = &call.body()["response_format"]["json_schema"]["schema"];
        if schema.is_null() {
            return says("an ordinary answer");
        }
        says(json!({"items": [item(schema, "a special kangaroo post\nwith lines")]}).to_string())
    });
    let line = |id: &str, query: &str, task: &str| {
        format!("{}\n", json!({"custom_id": id, "query": query, "tasks": [task]}))
    };
    let text = [
        line("one", "an ordinary question", "answer"),
        line("two", "it fails", "answer"),
        line("post", "a question about posts", "xhs_writing"),
    ];
    harness.write("in.jsonl", text.concat());
    harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    report(&harness, &[]);
    let browser = Browser::start();
    browser.open(&harness.path("report.html"), 1280);
    assert_eq!(names(&browser), ["one", "two", "post"]);
    assert!(
        text_of(&browser, "#headline .intro").starts_with("2 of 3\u{a0}requests are done"),
        "{}",
        text_of(&browser, "#headline .intro")
    );

    search(&browser, "KANGAROO", 1);
    assert_eq!(names(&browser), ["post"], "texts of results are found");
    search(&browser, "question", 2);
    search(&browser, "nowhere", 0);
    search(&browser, "", 3);
    browser.run("document.querySelector('[data-filter=bad]').click()");
    assert_eq!(names(&browser), ["two"]);
    let failure = opened(&browser, "two");
    assert!(
        failure.contains("no such thing") && failure.contains("Next step"),
        "{failure}"
    );
    browser.run("document.querySelector('[data-filter=all]').click()");
    let post = opened(&browser, "post");
    for part in [
        "a question about posts",
        "a special kangaroo post\nwith lines",
        "#t1",
        "Instruction",
    ] {
        assert!(post.contains(part), "{part}: {post}");
    }
    assert_eq!(
        browser.run("return document.querySelectorAll('.phone').length"),
        1,
        "a post is shown as one"
    );
    browser.run("document.querySelector('#failures .link-like').click()");
    assert_eq!(names(&browser), ["two"], "an example leads to its request");

    // The order of a column, from the keyboard too.
    search(&browser, "", 3);
    browser.run("document.querySelector('.requests thead th:nth-child(2) button').click()");
    assert_eq!(names(&browser), ["one", "post", "two"]);
    is_well(&browser);
}

#[test]
#[ignore = "needs Chromium (scripts/test-observers)"]
fn charts_are_drawn_in_both_themes_and_widths() {
    let faults = Faults {
        server_error: 0.3,
        ..Faults::default()
    };
    let (harness, _provider) = setup_with(MockConfig {
        faults,
        ..MockConfig::default()
    });
    harness.write("in.jsonl", questions(40));
    harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    report(&harness, &[]);
    let browser = Browser::start();
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        browser.devtools("Emulation.setEmulatedMedia", &features);
        for width in WIDTHS {
            browser.open(&harness.path("report.html"), width);
            browser.until("return document.querySelectorAll('.chart > svg').length >= 5");
            assert_eq!(
                browser.run("return [...document.querySelectorAll('.chart > svg')].filter((chart) => !chart.querySelector('.unit')).length"),
                0,
                "each chart names its unit"
            );
            fits(&browser);
        }
        grounds.push(browser.run(ground));
    }
    assert_ne!(grounds[0], grounds[1], "the system's theme is followed");
    browser.run("document.querySelector('.theme').click()");
    assert_eq!(browser.run(ground), grounds[0], "the button changes it");
    assert_eq!(
        browser.run("document.querySelector('.figures summary').click(); return true"),
        true
    );
    browser.until("return document.querySelectorAll('.figures[open] td').length > 0");
    is_well(&browser);
}

/// Texts that would run, load, hide or break something if they were taken for more than text.
fn hostile() -> Vec<String> {
    [
        "<script>window.hit=1</script>",
        "</script><script>window.hit=2</script>",
        "<img src=x onerror=window.hit=3><svg onload=window.hit=4>",
        "javascript:window.hit=5",
        "<a href='javascript:window.hit=6'>x</a><iframe src='http://127.0.0.1:9/'></iframe>",
        "<link rel=stylesheet href=http://127.0.0.1:9/a.css><style>*{display:none}</style>",
        "\u{202e}reversed\u{2066} \u{7}\u{1b}[31m\u{2028}\u{2029}\u{0}\u{feff}",
        "{{ 7*7 }} ${window.hit=7} %DATA% %SCRIPT% <!-- --> ]]>",
        "1e999 99999999999999999999999999 -0 NaN",
        "العربية والعبرية עברית \u{1f468}\u{200d}\u{1f469}",
    ]
    .map(str::to_owned)
    .into()
}

fn hostile_answer(call: &Call) -> String {
    let schema = &call.body()["response_format"]["json_schema"]["schema"];
    let all = hostile().join("\n");
    if schema.is_null() {
        return format!("{all}\n{}", "w".repeat(1_000_000));
    }
    let mut made = item(schema, &all);
    for (name, value) in made.as_object_mut().unwrap() {
        if value.is_string() {
            *value = json!(all);
        } else if name == "tags" {
            *value = json!(hostile());
        }
    }
    json!({"items": [made]}).to_string()
}

fn hostile_run() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call| {
        if call.user().contains("refuse me") {
            return refuses(400, &hostile().join(" "));
        }
        says(hostile_answer(call))
    });
    let mut lines = String::new();
    for (nth, text) in hostile().iter().enumerate() {
        for task in ["answer", "facts", "xhs_writing"] {
            let line = json!({
                "custom_id": format!("{nth} {task} {text}"), "query": text, "tasks": [{"action": task, "input": text}],
                "metadata": {text.as_str(): {"__proto__": [text]}, "w": "w".repeat(100_000)},
                "background": {"account_name": text.chars().take(40).collect::<String>()},
            });
            lines += &format!("{line}\n");
        }
    }
    lines += &format!(
        "{}\n<script>window.hit=9</script>\n",
        json!({"custom_id": "refused", "query": "refuse me", "tasks": ["answer"]})
    );
    harness.write("in.jsonl", lines);
    let ran = harness.nova3(&[
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--run",
        "<script>window.hit=10</script>",
    ]);
    assert!(matches!(ran.code, Some(0 | 100)), "{}", ran.err);
    (harness, model)
}

#[test]
#[ignore = "needs Chromium (scripts/test-observers)"]
fn hostile_texts_are_texts() {
    let (harness, _model) = hostile_run();
    report(&harness, &[]);
    let browser = Browser::start();
    for width in WIDTHS {
        browser.open(&harness.path("report.html"), width);
        browser.until("return document.querySelectorAll('tr.request').length === 32");
        browser.run("document.querySelectorAll('.opener').forEach((button) => button.click()); document.querySelectorAll('details').forEach((more) => { more.open = true; })");
        browser.until("return document.querySelectorAll('tr.opened:not([hidden])').length === 32");
        fits(&browser);
        assert_eq!(browser.run("return window.hit === undefined"), true);
        let strange = browser.run(
            "return [...document.querySelectorAll('#page script, #page iframe, #page img, #page link, #page style, #page object')].length
             + [...document.querySelectorAll('#page a')].filter((a) => !/^(#|https?:)/.test(a.getAttribute('href'))).length",
        );
        assert_eq!(strange, 0, "no text became an element or a link");
        assert!(
            browser
                .run("return document.body.innerText")
                .as_str()
                .unwrap()
                .contains("<script>window.hit=1</script>")
        );
    }
    search(&browser, "refused", 1);
    is_well(&browser);

    report(
        &harness,
        &[
            "--compare",
            "<script>window.hit=10</script>",
            "<script>window.hit=10</script>",
        ],
    );
    browser.open(&harness.path("report.html"), 400);
    browser.run("document.querySelectorAll('.opener').forEach((button) => button.click())");
    fits(&browser);
    assert_eq!(browser.run("return window.hit === undefined"), true);
    is_well(&browser);
}

#[test]
#[ignore = "needs Chromium (scripts/test-observers)"]
fn two_runs_are_compared_word_by_word() {
    let (harness, _model) = setup_saying(|call| {
        says(if call.system().contains("SECOND") {
            "a good new text"
        } else {
            "a good old text"
        })
    });
    harness.write("in.jsonl", questions(3).replace(",\"tasks\":[\"answer\"]", ""));
    for name in ["FIRST", "SECOND"] {
        let ran = harness.nova3(&[
            "run",
            "in.jsonl",
            "--run",
            name,
            "-o",
            &format!("{name}.out"),
            "--ask",
            "{{ query }}",
            "--system",
            name,
        ]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    report(&harness, &["--compare", "FIRST", "SECOND"]);
    let browser = Browser::start();
    for width in WIDTHS {
        browser.open(&harness.path("report.html"), width);
        let opened = opened(&browser, "q2");
        assert!(
            opened.contains("a good old text") && opened.contains("a good new text"),
            "{opened}"
        );
        let marks =
            browser.run("return [...document.querySelectorAll('del, ins')].map((mark) => mark.innerText)");
        assert_eq!(marks, json!(["old", "new"]));
        fits(&browser);
    }
    is_well(&browser);
}

#[test]
#[ignore = "needs Chromium (scripts/test-observers)"]
fn a_page_of_many_requests_opens_and_searches() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let batch = |n: usize| {
        format!(
            "{}\n",
            json!({"custom_id": format!("r{n}"), "method": "POST", "url": "/v1/chat/completions",
                "body": {"model": "m", "messages": [{"role": "user", "content": format!("question {n}")}]}})
        )
    };
    harness.write("in.jsonl", (0..25_000).map(batch).collect::<String>());
    let run = harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "64"]);
    let ran = harness.ran(&Running::start(run).output());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    report(&harness, &[]);
    let bytes = std::fs::metadata(harness.path("report.html")).unwrap().len();
    assert!(bytes < 15_000_000, "{bytes}");
    let browser = Browser::start();
    browser.open(&harness.path("report.html"), 1280);
    assert!(
        text_of(&browser, "#requests .intro").starts_with("20,000 of 25,000"),
        "the page says that it lists a part"
    );
    assert_eq!(names(&browser).len(), 50);
    search(&browser, "r24998", 1);
    search(&browser, "\"question 12\"", 0);
    fits(&browser);
    is_well(&browser);
}
