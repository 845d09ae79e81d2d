//! Results as tables that people open, and the list of runs.

use std::process::Stdio;

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::fleet::fleet;
use crate::cli::harness::{Harness, Ran, Running, lines, question, setup, setup_with};
use crate::cli::model::{good, says, setup_saying};
use crate::cli::provider::{Say, Scripted};

/// A post whose texts try to leave their cell.
fn hostile_post() -> String {
    json!({"items": [
        {"title": "=1+1|a", "content": "一行\t<img src=x onerror=alert(1)>\n\"引\",二 ![p](http://evil.example/p.png)\u{202e}gnp\u{1b}[31m",
            "tags": ["a", "b", "c"], "cover": "\u{0}@SUM(A1)", "best_time": "-3.5", "basis": []},
        {"title": "two", "content": "plain", "tags": ["x y", "b", "c"], "cover": "c:\\new", "best_time": "+1", "basis": []},
    ]})
    .to_string()
}

/// A finished run: two posts, a plain answer, a bad line and a failed request.
fn setup_posts() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call| match call.action() {
        "xhs_writing" => says(hostile_post()),
        _ if call.user().contains("fail") => Say {
            status: 400,
            headers: "content-type: application/json\r\n",
            body: json!({"error": {"message": "=no"}}).to_string(),
        },
        _ => good(call),
    });
    let route = format!(
        "[agents]\nai_label = \"\"\n[routes.only]\nbase_url = \"{}\"\nmodel = \"m\"\ninput_usd_per_million = 10\noutput_usd_per_million = 100\n",
        model.base_url()
    );
    harness.write("nova3.toml", harness.read("nova3.toml") + &route);
    let input = [
        json!({"custom_id": "=cmd", "query": "post", "tasks": ["insight", "xhs_writing"], "metadata": {"sku": 12, "a.b": "dot"}}),
        json!({"custom_id": "a", "query": "one", "tasks": ["answer"], "metadata": {"sku": "0042"}}),
        json!({"custom_id": "f", "query": "fail", "tasks": ["answer"]}),
    ];
    harness.write(
        "in.jsonl",
        input.map(|line| format!("{line}\n")).concat() + "bad\n",
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    (harness, model)
}

fn results(harness: &Harness, args: &[&str]) -> Ran {
    harness.nova3(&[&["results", "--order", "input"], args].concat())
}

/// The records of a CSV text, read by a reader that knows nothing of the writer's choices.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn requests_and_items_are_rows() {
    let (harness, _model) = setup_posts();
    for (name, args) in [
        ("requests_csv", &["--format", "csv"][..]),
        ("requests_md", &["--format", "md"]),
        ("items_csv", &["--format", "csv", "--items"]),
        ("items_tsv", &["--format", "tsv", "--items", "xhs_post"]),
        ("items_md", &["--format", "md", "--items", "xhs_post,insight"]),
        ("items_jsonl", &["--items"]),
        ("items_text", &["--format", "text", "--items"]),
        (
            "chosen_text",
            &[
                "--format",
                "text",
                "--columns",
                "custom_id,metadata.sku,error.class",
            ],
        ),
    ] {
        let ran = results(&harness, args);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{name}");
        let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t') || c == '\u{202e}';
        assert!(
            name == "items_jsonl" || !ran.out.contains(steers),
            "{name}: {:?}",
            ran.out
        );
        insta::assert_snapshot!(format!("table_{name}"), ran.out.replace('\r', "␍"));
    }
}

#[test]
fn no_cell_is_a_formula_and_each_stays_in_its_place() {
    let (harness, _model) = setup_posts();
    let out = results(&harness, &["--format", "csv", "--items"]).out;
    let table = records(&out);
    assert_eq!(table.len(), 4, "{out}");
    for row in &table {
        assert_eq!(row.len(), table[0].len());
        for cell in row {
            assert!(
                cell == "-3.5" || !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "{cell:?}"
            );
        }
    }
    assert!(out.lines().all(|line| line.ends_with('\r') || !line.is_empty()));
    let tsv = results(&harness, &["--format", "tsv", "--items"]).out;
    assert!(
        tsv.lines().all(|line| line.split('\t').count() == table[0].len()),
        "{tsv}"
    );
    let md = results(&harness, &["--format", "md", "--items"]).out;
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(md.lines().all(|line| bars(line) == table[0].len() + 1), "{md}");
    assert!(
        !md.contains(['<', '>']) || !md.replace("<br>", "").contains(['<', '>']),
        "{md}"
    );
    assert!(!md.contains("!["), "{md}");
}

#[test]
fn columns_are_chosen_and_ordered() {
    let (harness, _model) = setup_posts();
    let chosen = |columns: &str, more: &[&str]| {
        results(
            &harness,
            &[&["--format", "csv", "--columns", columns][..], more].concat(),
        )
    };
    let ran = chosen(
        "metadata.sku,custom_id,tasks.0.route,usage.output_tokens,metadata.a.b,error.class,tasks.0.action",
        &[],
    );
    assert_eq!(
        records(&ran.out),
        [
            [
                "metadata.sku",
                "custom_id",
                "tasks.0.route",
                "usage.output_tokens",
                "metadata.a.b",
                "error.class",
                "tasks.0.action"
            ],
            ["12", "'=cmd", "only", "20", "dot", "", "insight"],
            ["0042", "a", "only", "10", "", "", "answer"],
            ["", "f", "only", "0", "", "bad_request", "answer"],
            ["", "", "", "0", "", "bad_request", ""],
        ]
    );
    // An item has the columns of its request too.
    let ran = chosen("id,metadata.sku,status,tags", &["--items", "insight,xhs_post"]);
    assert_eq!(
        records(&ran.out),
        [
            ["id", "metadata.sku", "status", "tags"],
            ["insight1", "12", "completed", ""],
            ["xhs_post1", "12", "completed", "a b c"],
            ["xhs_post2", "12", "completed", "x y、b、c"],
        ]
    );
    // Each name of the result line is known although no row of this selection has it.
    let all = harness.results("out.jsonl");
    let failed = all.iter().find(|line| line["custom_id"] == "f").unwrap();
    let inner = |key: &str| {
        let keys = failed[key].as_object().unwrap().keys();
        keys.map(|name| format!("{key}.{name}")).collect::<Vec<_>>()
    };
    let keys = failed.as_object().unwrap().keys().cloned();
    let names: Vec<String> = keys.chain(inner("error")).chain(inner("usage")).collect();
    let ran = chosen(&names.join(","), &["--status", "completed"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let ran = chosen("custom_id,metadata.skuu", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    let said = "nova3: `--columns`: no row has `metadata.skuu` (there are: custom_id, status, title, content, items, cost_usd, error, v, run,";
    assert!(
        ran.err.starts_with(said) && ran.err.contains("metadata.sku,"),
        "{}",
        ran.err
    );
    for (columns, said) in [
        ("a,,b", "nova3: `--columns`: a name is empty\n"),
        ("v,v", "nova3: `--columns`: `v` is given twice\n"),
    ] {
        let ran = chosen(columns, &[]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(2), said));
    }
    let ran = results(
        &harness,
        &[
            "--columns",
            "custom_id,items,metadata.sku,tasks.1.status",
            "--id",
            "=cmd",
        ],
    );
    assert_eq!(
        lines(&ran.out),
        [
            json!({"custom_id": "=cmd", "items": ["xhs_post1", "xhs_post2"], "metadata.sku": 12, "tasks.1.status": "completed"})
        ]
    );
}

#[test]
fn an_item_knows_its_sources_and_its_share_of_the_cost() {
    let harness = setup();
    harness.write(
        "in.jsonl",
        format!(
            "{}\n",
            json!({"custom_id": "p", "query": "oats", "tasks": ["facts", "xhs_writing"]})
        ),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--mock", "--store", "s.db", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let result = harness.results("out.jsonl").remove(0);
    let ran = harness.nova3(&["results", "--store", "s.db", "--items", "fact,xhs_post"]);
    let items = lines(&ran.out);
    let of = |name: &str| items.iter().find(|item| item["id"] == name).unwrap();
    let url = &result["tasks"][0]["result"][0]["url"];
    assert!(url.is_string());
    assert_eq!(of("fact1")["source_urls"], json!([url]));
    let posts = items
        .iter()
        .filter(|item| item["id"].to_string().contains("xhs_post"));
    for post in posts {
        let facts = post["basis"].as_array().unwrap().iter();
        let urls: Vec<&Value> = facts
            .map(|id| &of(id.as_str().unwrap())["source_urls"][0])
            .collect();
        assert_eq!(post["source_urls"], json!(urls), "{post}");
    }
    let cost = |item: &Value| item["cost_usd"].as_f64().unwrap();
    let sum: f64 = items.iter().map(cost).sum();
    assert!((sum - result["cost_usd"].as_f64().unwrap()).abs() < 1e-9, "{sum}");
    let ran = harness.nova3(&["results", "--store", "s.db", "--items", "--format", "csv"]);
    assert!(
        ran.out.starts_with("custom_id,id,title,content,basis,"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains(",source_urls,cost_usd\r\n"), "{}", ran.out);
}

#[test]
fn a_byte_order_mark_is_written_on_request() {
    let (harness, _model) = setup_posts();
    let plain = results(&harness, &["--format", "csv"]).out;
    assert!(!plain.starts_with('\u{feff}'));
    assert_eq!(
        results(&harness, &["--format", "csv", "--bom"]).out,
        format!("\u{feff}{plain}")
    );
    for format in ["tsv", "md", "text"] {
        assert!(
            results(&harness, &["--format", format, "--bom"])
                .out
                .starts_with('\u{feff}')
        );
    }
    let ran = results(&harness, &["--bom"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(2),
            "nova3: `--bom`: JSON Lines have no byte order mark (add `--format csv`)\n"
        )
    );
}

#[test]
fn a_table_without_rows_is_nothing() {
    let (harness, _model) = setup_posts();
    for nothing in [
        &["--format", "csv", "--status", "paused"][..],
        &["--format", "md", "--items", "--status", "failed"],
        &["--format", "csv", "--items", "fact"],
        &["--format", "tsv", "--columns", "nonsense", "--id", "none"],
        &["--items", "fact", "--format", "text", "--bom"],
    ] {
        let ran = results(&harness, nothing);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (Some(4), "", ""),
            "{nothing:?}"
        );
    }
    let ran = harness.nova3(&["results", "--items", "in.jsonl"]);
    let said = "nova3: `--items`: `in.jsonl` is no item type such as `insight` (the name of a run stands before `--items`)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), said));
    assert_eq!(harness.nova3(&["results", "in.jsonl", "--items"]).code, Some(0));
    let items = lines(&harness.nova3(&["results", "--items=insight", "in.jsonl"]).out);
    assert_eq!(items[0]["id"], "insight1");
}

#[test]
fn the_answer_of_a_batch_line_is_its_content() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    let line = json!({"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": body});
    harness.write("in.jsonl", format!("{line}\n"));
    assert_eq!(harness.nova3(&["run", "in.jsonl", "-q"]).code, Some(0));
    let ran = results(
        &harness,
        &["--columns", "status,content,response.status_code,cost_usd"],
    );
    let row = lines(&ran.out).remove(0);
    assert_eq!(
        (&row["status"], &row["response.status_code"]),
        (&json!("completed"), &json!(200))
    );
    assert!(
        row["content"].as_str().is_some_and(|content| !content.is_empty()),
        "{row}"
    );
    assert_eq!(results(&harness, &["--items"]).code, Some(4));
}

#[test]
fn many_pages_are_one_table_and_a_reader_may_leave() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1300);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-q", "-j", "64"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for args in [
        &["--format", "csv"][..],
        &["--format", "csv", "--items", "answer"],
    ] {
        let table = records(&results(&harness, args).out);
        let ids: Vec<&str> = table.iter().map(|row| row[0].as_str()).collect();
        let wanted: Vec<String> = (1..=1300).map(|n| format!("q{n}")).collect();
        assert_eq!(ids[0], "custom_id");
        assert_eq!(ids[1..], wanted);
    }
    for args in [
        "--format csv",
        "--format md --items",
        "--items",
        "--format tsv --columns custom_id,tasks.0.model",
    ] {
        let ran = harness.shell(&format!("nova3 results {args} | head -n 1"));
        assert_eq!(
            (ran.code, ran.err.as_str(), ran.out.lines().count()),
            (Some(0), "", 1),
            "{args}"
        );
    }
}

#[test]
fn runs_are_listed() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let none = harness.nova3(&["runs"]);
    let said = "nova3: there is no store `nova3.db` (start a run first, or name its store with `--store`)\n";
    assert_eq!((none.code, none.err.as_str()), (Some(4), said));
    listed(&harness);
    harness.write("mock.jsonl", question("a", "one"));
    let ran = harness.nova3(&["run", "mock.jsonl", "--mock", "-q"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = harness.nova3(&["runs", "--store", "nova3-mock.db", "--json"]);
    let run = lines(&ran.out).remove(0);
    assert_eq!((&run["rehearsal"], &run["cost_usd"]), (&json!(true), &json!(0.0)));
    let ran = harness.nova3(&["runs", "--store", "nova3-mock.db"]);
    assert!(ran.out.contains("  rehearsal  "), "{}", ran.out);
}

#[test]
fn runs_of_a_database_are_listed() {
    let (harness, _provider) = fleet(MockConfig::default());
    let none = harness.nova3(&["runs"]);
    assert_eq!(none.code, Some(4), "{}", none.err);
    assert!(none.err.contains("holds no store"), "{}", none.err);
    listed(&harness);
}

/// Makes two runs and looks at their list.
fn listed(harness: &Harness) {
    harness.write("in.jsonl", question("a", "one") + &question("b", "two") + "bad\n");
    assert_eq!(harness.nova3(&["run", "in.jsonl", "-q"]).code, Some(100));
    let ran = harness.nova3_reading(
        &["run", "--run", "part one", "-q", "--limit", "1", "-j", "1"],
        question("a", "one") + &question("b", "two"),
    );
    assert_eq!(ran.code, Some(101), "{}", ran.err);
    let ran = harness.nova3(&["runs", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let mut runs = lines(&ran.out);
    for run in &mut runs {
        assert!(run["last_accessed"].take().is_string() && run["created_at"].take().is_string());
    }
    let rest = |run: &Value, name: &str, input: Option<String>| {
        let mut run = run.clone();
        for (key, value) in [("run", json!(name)), ("input", json!(input))] {
            assert_eq!(run[key].take(), value);
        }
        run
    };
    let input = harness.path("in.jsonl").to_str().unwrap().to_owned();
    assert_eq!(
        rest(&runs[1], "in.jsonl", Some(input)),
        json!({"run": null, "input": null, "input_complete": true, "total": 3, "done": 2, "partial": 0, "failed": 1,
            "running": 0, "paused": 0, "continued": 0, "left": 0, "work_left": false, "cost_usd": null,
            "created_at": null, "last_accessed": null, "rehearsal": false})
    );
    assert_eq!(
        (&runs[0]["run"], &runs[0]["work_left"], &runs[0]["done"]),
        (&json!("part one"), &json!(true), &json!(1))
    );
    assert_eq!(runs.len(), 2);
    let ran = harness.nova3(&["runs"]);
    let shown: Vec<Vec<&str>> = ran
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(shown.len(), 3, "{}", ran.out);
    assert_eq!(
        shown[0],
        [
            "run", "total", "done", "failed", "running", "paused", "left", "cost", "last", "used", "kind",
            "input"
        ]
    );
    assert_eq!(shown[2][..8], ["in.jsonl", "3", "2", "1", "0", "0", "0", "–"]);
    assert!(
        !ran.out.contains('\u{1b}') && ran.out.contains("standard input"),
        "{}",
        ran.out
    );
    // A reader that leaves ends the command quietly.
    let mut command = harness.command(&["runs"]);
    command.stdout(Stdio::piped());
    let mut running = Running::start(command);
    drop(running.child().stdout.take());
    assert_eq!(harness.ran(&running.output()).code, Some(0));
}

#[test]
fn a_store_without_runs_says_so() {
    let harness = setup();
    harness.write("in.jsonl", question("a", "one"));
    let ran = harness.nova3(&["run", "in.jsonl", "--mock", "-q", "--store", "s.db"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let store = rusqlite::Connection::open(harness.path("s.db")).unwrap();
    store
        .execute_batch("PRAGMA foreign_keys=OFF; DELETE FROM nova3_queues; DELETE FROM nova3_runs;")
        .unwrap();
    drop(store);
    let list = harness.nova3(&["runs", "--store", "s.db"]);
    assert_eq!(
        (list.code, list.out.as_str(), list.err.as_str()),
        (
            Some(4),
            "",
            "nova3: the store holds no run yet (`nova3 run` starts one)\n"
        )
    );
}
