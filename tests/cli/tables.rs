//! Tables as input: CSV, TSV and JSON, compressed or not, in the encodings of spreadsheets.

use std::io::Write;

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::{Harness, Provider, Running, ids, lines, setup, setup_with, until};

const TABLE: &str =
    "sku,标题,价格,备注\nA1,面霜,39,好\nA2,\"防晒霜\n50ml\",59,\nA3,\"眼霜, \"\"夜间\"\"\",89,新\n";

const QUERY: &str = "为{{ row.标题 }}写一篇，价格 {{ row.价格 }}";

const MAPPED: [&str; 6] = ["--query", QUERY, "--id-column", "sku", "--tasks", "answer"];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn run(harness: &Harness, name: &str) -> (Option<i32>, String) {
    let ran = harness.nova3(&[&["run", name, "-o", "out.jsonl", "--run", "r"], &MAPPED[..]].concat());
    (ran.code, ran.err)
}

/// The prompts of a request.
fn prompt(harness: &Harness, args: &[&str], id: &str) -> String {
    let ran = harness.nova3(&[&["plan"], args, &["--show-prompt", id]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out
}

#[test]
fn each_format_compression_and_encoding_gives_the_same_requests() {
    let objects = json!([
        {"sku": "A1", "标题": "面霜", "价格": 39, "备注": "好"},
        {"sku": "A2", "标题": "防晒霜\n50ml", "价格": 59, "备注": null},
        {"sku": "A3", "标题": "眼霜, \"夜间\"", "价格": "89"},
    ]);
    let rows: Vec<String> = objects.as_array().unwrap().iter().map(Value::to_string).collect();
    let jsonl = rows.join(
        "
",
    );
    let tsv = TABLE
        .replace("眼霜, ", "眼霜COMMA ")
        .replace(',', "\t")
        .replace("COMMA", ",");
    let semicolons = TABLE
        .replace("眼霜, ", "眼霜COMMA ")
        .replace(',', ";")
        .replace("COMMA", ",");
    let (gb, _, _) = encoding_rs::GB18030.encode(TABLE);
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("a.csv", TABLE.into()),
        ("marked.csv", format!("\u{feff}{TABLE}").into()),
        (
            "excel.csv",
            format!("sep=;\r\n{}", semicolons.replace('\n', "\r\n")).into(),
        ),
        ("semicolons.csv", semicolons.into()),
        ("gb.csv", gb.to_vec()),
        (
            "utf16.csv",
            utf16(&TABLE.replace(',', "\t").replace("霜\t ", "霜, ")),
        ),
        ("a.tsv", tsv.into()),
        ("a.json", objects.to_string().into()),
        (
            "pretty.json",
            serde_json::to_string_pretty(&objects).unwrap().into(),
        ),
        ("a.jsonl", jsonl.clone().into()),
        ("a.csv.gz", gzip(TABLE.as_bytes())),
        ("gb.csv.zst", zstd::encode_all(&gb[..], 3).unwrap()),
        ("a.jsonl.gz", gzip(jsonl.as_bytes())),
        ("named.txt.gz", gzip(jsonl.as_bytes())),
    ];
    let harness = setup();
    let shown = |args: &[&str]| -> Vec<Value> {
        let ran = harness.nova3(&[&["plan"], args, &MAPPED[..], &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        let prompts = ["A1", "A2", "A3"].map(|id| {
            let shown = prompt(&harness, &[args, &MAPPED[..]].concat(), id);
            let query = shown
                .lines()
                .filter(|line| line.contains("写一篇") || line.contains('霜'));
            query.map(str::to_owned).collect::<Vec<_>>().join("\n")
        });
        assert!(prompts[1].contains("为防晒霜"), "{}", prompts[1]);
        let mut found = lines(&ran.out);
        for line in &mut found {
            line["line"] = Value::Null;
        }
        found.push(json!(prompts.map(|prompt| prompt.replace("\\r\\n", "\\n"))));
        found
    };
    harness.write("first.csv", TABLE);
    let expected = shown(&["first.csv"]);
    assert_eq!(ids(&expected[..3]), ["A1", "A2", "A3"]);
    for (name, bytes) in files {
        harness.write(name, bytes);
        let found = shown(&[name]);
        // A line break in a cell of an Excel file is one of Windows.
        assert_eq!(
            json!(found).to_string().replace("\\r", ""),
            json!(expected).to_string(),
            "{name}"
        );
    }
}

#[test]
fn a_pipe_says_its_format() {
    let harness = setup();
    let check = ["check", "-", "--input-format", "csv", "-m", "m"];
    let harness = harness.with("OPENAI_API_KEY", "sk-test");
    for bytes in [TABLE.as_bytes().to_vec(), gzip(TABLE.as_bytes())] {
        let ran = harness.nova3_reading(&[&check[..], &MAPPED].concat(), bytes);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(0), "-: 3 requests, 0 bad rows\n"),
            "{}",
            ran.err
        );
    }
    let ran = harness.nova3_reading(&[&check[..], &["--query", "{{ row.title }}"]].concat(), TABLE);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let strict = ["run", "-", "--mock", "--input-format", "csv", "--strict"];
    let ran = harness.nova3_reading(&[&strict[..], &MAPPED].concat(), format!("{TABLE}A4\n"));
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.err
            .contains("row 5: expected 4 cells as in the header, got 1\n"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("1 bad row; nothing was run (`--strict`)"),
        "{}",
        ran.err
    );
}

fn finished(table: &str) -> (Harness, Provider) {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write("a.csv", table);
    assert_eq!(run(&harness, "a.csv").0, Some(0));
    (harness, provider)
}

#[test]
fn only_cells_that_are_used_are_content() {
    let (harness, provider) = finished(TABLE);
    assert_eq!(provider.calls(), 3);
    let first = harness.read("out.jsonl");
    for (table, calls) in [
        (TABLE.to_owned(), 3),
        // A note that no template names, another order of rows, another order of columns.
        (TABLE.replace("好", "很好"), 3),
        (
            "sku,价格,标题\nA3,89,\"眼霜, \"\"夜间\"\"\"\nA1,39,面霜\nA2,59,\"防晒霜\n50ml\"\n".to_owned(),
            3,
        ),
        // A price that the query names, then the stored version of before and a new row.
        (TABLE.replace("39", "35"), 4),
        (TABLE.to_owned() + "A4,香水,199,\n", 5),
    ] {
        harness.write("a.csv", &table);
        let (code, err) = run(&harness, "a.csv");
        assert_eq!((code, provider.calls()), (Some(0), calls), "{err}");
        assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    }
    assert_eq!(harness.results("out.jsonl").len(), 4);
    harness.write("a.csv", TABLE);
    assert_eq!(run(&harness, "a.csv").0, Some(0));
    let lost = harness.read("out.jsonl");
    assert_eq!(lost.lines().count(), first.lines().count());
    std::fs::remove_file(harness.path("out.jsonl")).unwrap();
    let calls = provider.calls();
    assert_eq!((run(&harness, "a.csv").0, provider.calls()), (Some(0), calls));
    assert_eq!(harness.results("out.jsonl").len(), 3);
}

#[test]
fn a_broken_row_is_one_bad_line() {
    let (harness, provider) = setup_with(MockConfig::default());
    let long = "x".repeat(11_000_000);
    let table = [
        "sku,标题,价格,priority\n".as_bytes(),
        "A1,面霜,39,1\n".as_bytes(),
        "A2,面霜,39\n".as_bytes(),
        b"A3,caf\xe9,39,1\n",
        "A4,面霜,39,soon\n".as_bytes(),
        "A1,again,39,1\n".as_bytes(),
        b"A6,a\0b,39,1\n",
        format!("A7,{long},39,1\n").as_bytes(),
        b"\n",
        "A9,\"two\nlines\",39,1\n".as_bytes(),
        b",,,\n",
        "A11,\"never\nends,39,1\n".as_bytes(),
    ]
    .concat();
    harness.write("a.csv", &table);
    let (code, err) = run(&harness, "a.csv");
    assert_eq!(code, Some(100), "{err}");
    let mut told: Vec<(u64, String)> = harness
        .results("out.jsonl")
        .iter()
        .filter(|line| line["ok"] == false)
        .map(|line| {
            let message = line["error"]["message"].as_str().unwrap();
            (line["error"]["line"].as_u64().unwrap(), message.to_owned())
        })
        .collect();
    told.sort();
    let text: Vec<String> = told
        .iter()
        .map(|(line, message)| format!("{line} {message}"))
        .collect();
    insta::assert_snapshot!("tables_bad_rows", text.join("\n"));
    assert_eq!(provider.calls(), 2, "the rows A1 and A9");
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    let check = harness.nova3(&[&["check", "a.csv"], &MAPPED[..]].concat());
    assert_eq!(check.code, Some(3));
    assert!(
        check.out.ends_with("a.csv: 2 requests, 7 bad rows\n"),
        "{}",
        check.out
    );
    insta::assert_snapshot!("tables_check", check.err);
    let plan = harness.nova3(&[&["plan", "a.csv"], &MAPPED[..]].concat());
    assert_eq!(plan.code, Some(3));
    assert!(plan.out.starts_with("row 2 · A1"), "{}", plan.out);
    // The same bad rows are the same results.
    assert_eq!(run(&harness, "a.csv").0, Some(100));
    assert_eq!(provider.calls(), 2);
    // Rows that were repaired run: A2, and A3 with another character.
    let repaired = String::from_utf8_lossy(&table).replace("A2,面霜,39\n", "A2,面霜,39,1\n");
    harness.write("a.csv", repaired);
    assert_eq!((run(&harness, "a.csv").0, provider.calls()), (Some(100), 4));
}

#[test]
fn a_header_without_a_named_column_ends_before_anything_is_spent() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write("a.csv", TABLE);
    harness.write("bad.json", "\"x\"");
    for (args, expected) in [
        (
            &["a.csv", "--query", "{{ row.title }}", "--id-column", "id"][..],
            "input `DIR/a.csv`: the header: expected a column `id` (for `custom_id`) and `title` (for `--query`), got `sku`, `标题`, `价格`, `备注`",
        ),
        (
            &["a.csv", "--query", "{{ title }}"],
            "`--query`: it names `title`, expected a column such as `row.title`",
        ),
        (
            &["a.csv", "--map", "title=x"],
            "`--map`: expected a field of a request, got `title`",
        ),
        (
            &["a.csv", "--map", "title"],
            "`--map` is `title`: expected a field and a column such as `query=title`",
        ),
        (
            &["a.csv", "--query", "q", "--map", "query=标题"],
            "`--query` is `q`: expected no `--map query=…` beside it",
        ),
        (
            &["a.csv", "--input-encoding", "klingon"],
            "`--input-encoding`: expected an encoding such as `utf-8`",
        ),
        (
            &["bad.json"],
            "input `DIR/bad.json`: expected a JSON array of objects",
        ),
    ] {
        for command in ["run", "check", "plan"] {
            let ran = harness.nova3(&[&[command], args].concat());
            assert_eq!(ran.code, Some(2), "{command} {args:?}: {}", ran.err);
            assert!(ran.err.contains(expected), "{command} {args:?}: {}", ran.err);
        }
        assert!(!harness.path("nova3.db").exists(), "{args:?}");
    }
    assert_eq!(provider.calls(), 0);
    harness.write("book.csv", b"PK\x03\x04rest");
    let ran = harness.nova3(&["run", "book.csv"]);
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.err
            .contains("it is a ZIP archive or an Excel workbook (save the sheet as CSV)"),
        "{}",
        ran.err
    );
    harness.write("cut.csv.gz", &gzip(TABLE.as_bytes())[..40]);
    assert_eq!(run(&harness, "cut.csv.gz").0, Some(3));
    for (name, bytes) in [
        ("empty.csv", &b""[..]),
        ("header.csv", b"sku,query\n"),
        ("blank.csv", b"\n\n"),
        ("none.json", b"[]"),
    ] {
        harness.write(name, bytes);
        let ran = harness.nova3(&["run", name, "--tasks", "answer"]);
        assert_eq!(ran.code, Some(4), "{name}: {}", ran.err);
    }
}

#[test]
fn the_mapping_can_stand_in_the_settings() {
    let harness = setup();
    let settings = "[input]\nquery = \"About {{ row.标题 }}\"\nid_column = \"sku\"\n[input.map]\nsession_id = \"备注\"\n\"background.platform\" = \"标题\"\n";
    harness.write("nova3.toml", settings);
    harness.write("a.csv", "sku,标题,备注\nA1,面霜,s1\n");
    let shown = prompt(&harness, &["a.csv", "--tasks", "answer"], "A1");
    assert!(
        shown.contains("About 面霜") && shown.contains("platform"),
        "{shown}"
    );
    let plan = harness.nova3(&["plan", "a.csv", "--json"]);
    assert_eq!(lines(&plan.out)[0]["session_id"], "s1");
    // A variable holds several pairs.
    let with_variable = setup().with("NOVA3_MAP", "query=标题, custom_id=备注");
    with_variable.write("a.csv", "sku,标题,备注\nA1,面霜,s1\n");
    let shown = prompt(&with_variable, &["a.csv", "--tasks", "answer"], "s1");
    assert!(shown.contains("面霜"), "{shown}");
    // Flags replace the settings.
    let flags = [
        "a.csv",
        "--map",
        "query=标题",
        "--map",
        "custom_id=备注",
        "--tasks",
        "answer",
    ];
    let shown = prompt(&harness, &flags, "s1");
    assert!(!shown.contains("About"), "{shown}");
    let shown = prompt(
        &harness,
        &["a.csv", "--query", "On {{ row.标题 }}", "--tasks", "answer"],
        "A1",
    );
    assert!(shown.contains("On 面霜"), "{shown}");
    // JSON Lines are requests as they stand, unless a flag maps them.
    harness.write("a.jsonl", "{\"custom_id\":\"x\",\"query\":\"q\"}\n");
    let shown = prompt(&harness, &["a.jsonl", "--tasks", "answer"], "x");
    assert!(!shown.contains("About"), "{shown}");
    harness.write(
        "a.jsonl",
        "{\"sku\":\"x\",\"name\":\"q\",\"备注\":\"s\",\"标题\":\"t\"}\n",
    );
    assert_eq!(harness.nova3(&["plan", "a.jsonl"]).code, Some(3));
    let shown = prompt(
        &harness,
        &["a.jsonl", "--query", "On {{ row.name }}", "--tasks", "answer"],
        "x",
    );
    assert!(shown.contains("On q"), "{shown}");
    harness.write(
        "nova3.toml",
        "[input]\nquery = \"q\"\n[input.map]\nquery = \"x\"\n",
    );
    assert_eq!(harness.nova3(&["plan", "a.csv"]).code, Some(2));
}

const AGENT: &str = "action = \"blurb\"\ndescription = \"writes a blurb\"\nmax_tokens = 100\nsystem = \"You write.\"\nuser = \"Price: {{ row.价格 }} {{ row[\\\"名 称\\\"] }} {% include 'material' %}\"\n";

#[test]
fn templates_of_agents_use_columns() {
    let (harness, provider) = setup_with(MockConfig::default());
    std::fs::create_dir_all(harness.path("mine")).unwrap();
    harness.write("nova3.toml", "[agents]\nfolder = \"mine\"\n");
    harness.write("mine/blurb.toml", AGENT);
    let table = "custom_id,query,价格,名 称,note\nA1,q,39,面霜,x\n";
    harness.write("a.csv", table);
    let args = ["a.csv", "--tasks", "blurb"];
    let shown = prompt(&harness, &args, "A1");
    assert!(shown.contains("Price: 39 面霜"), "{shown}");
    let run = || {
        let ran = harness.nova3(&[&["run"], &args[..], &["-o", "out.jsonl"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        provider.calls()
    };
    assert_eq!(run(), 1);
    harness.write("a.csv", table.replace(",x\n", ",y\n"));
    assert_eq!(run(), 1, "no template names the note");
    harness.write("a.csv", table.replace("39", "40"));
    assert_eq!(run(), 2);
    harness.write("b.csv", "custom_id,query\nA1,q\n");
    let ran = harness.nova3(&["run", "b.csv", "--tasks", "blurb"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err.contains("`价格` (for the template of an agent)"),
        "{}",
        ran.err
    );
    let ran = harness.nova3(&["run", "b.csv", "--tasks", "answer"]);
    assert_eq!(
        ran.code,
        Some(0),
        "the agent of the column has no task: {}",
        ran.err
    );
    harness.write(
        "a.jsonl",
        "{\"custom_id\":\"A1\",\"query\":\"q\",\"row\":{\"价格\":7,\"名 称\":\"n\"}}\n",
    );
    let shown = prompt(&harness, &["a.jsonl", "--tasks", "blurb"], "A1");
    assert!(shown.contains("Price: 7 n"), "{shown}");
}

/// The highest resident memory of `nova3 check` on a file, in KiB.
fn peak(harness: &Harness, name: &str) -> (u64, Option<i32>, String) {
    let args = [&["check", name][..], &MAPPED].concat();
    let mut check = Running::start(harness.command(&args));
    let pid = check.child().id();
    let mut most = 0;
    until("the check is over", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
        most = most.max(now.unwrap_or(0));
        check.child().try_wait().unwrap().is_some()
    });
    let ran = harness.ran(&check.output());
    (most, ran.code, ran.err)
}

#[test]
fn a_hostile_table_needs_little_memory() {
    let harness = setup()
        .with("OPENAI_API_KEY", "sk-test")
        .with("OPENAI_MODEL", "m");
    let cell = "a".repeat(100 << 20);
    harness.write("cell.csv", format!("{TABLE}A4,\"{cell}\",1,\nA5,香水,1,\n"));
    harness.write("quote.csv", format!("{TABLE}A4,\"{cell}"));
    let cell = &cell[..40 << 20];
    let bomb = format!("{TABLE}A4,{cell},1,\n");
    harness.write("bomb.csv.gz", gzip(bomb.as_bytes()));
    harness.write("bomb.csv.zst", zstd::encode_all(bomb.as_bytes(), 3).unwrap());
    harness.write("bomb.json.gz", gzip(format!("[\"{cell}\"]").as_bytes()));
    harness.write("nul.csv", vec![0; 20 << 20]);
    harness.write("commas.csv", format!("{TABLE}{}", ",".repeat(20 << 20)));
    for (name, codes) in [
        ("cell.csv", &[3][..]),
        ("quote.csv", &[3]),
        ("bomb.csv.gz", &[3]),
        ("bomb.csv.zst", &[3]),
        ("bomb.json.gz", &[3]),
        ("nul.csv", &[2]),
        ("commas.csv", &[3]),
    ] {
        let (most, code, err) = peak(&harness, name);
        assert!(codes.contains(&code.unwrap()), "{name}: {code:?} {err}");
        assert!((1..128 << 10).contains(&most), "{name}: {most} KiB");
    }
}
