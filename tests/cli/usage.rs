//! `nova3 usage`: the bill of a store, and its comparison with a provider's export.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, lines, question, setup};
use crate::cli::model::says;
use crate::cli::provider::{Say, Scripted};

/// An answer of a model, which counts 1000 tokens in, of which 400 are cached, and 100 out.
fn counted(body: &str) -> Say {
    let Say { body: answer, .. } = says("an answer");
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    answer["model"] = json!(if body.contains("flex") {
        "=flex"
    } else {
        "m-2026-01-31"
    });
    answer["usage"] = json!({
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400},
    });
    if body.contains("flex") {
        answer["service_tier"] = json!("flex");
    }
    Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: answer.to_string(),
    }
}

/// A store with three answers of two users: two live ones, of which one belongs to a session, and a flex one after a refusal.
fn used() -> Harness {
    let refused = std::sync::atomic::AtomicBool::new(false);
    let model = Scripted::start(move |body| {
        let first = !refused.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first {
            return Say {
                status: 500,
                headers: "",
                body: String::new(),
            };
        }
        counted(body)
    });
    let harness = setup();
    harness.write(
        "nova3.toml",
        format!(
            "[routes.a]\nbase_url = \"{}\"\nmodel = \"m\"\ninput_usd_per_million = 10\ncached_input_usd_per_million = 1\n\
             output_usd_per_million = 100\n[routes.a.price.tiers]\nflex = 0.5\n[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n",
            model.base_url()
        ),
    );
    let input = [
        r#"{"custom_id":"1","user_id":"ann","session_id":"s","query":"one","tasks":["insight"]}"#,
        r#"{"custom_id":"2","user_id":"bob","query":"flex","tasks":["insight"]}"#,
    ];
    harness.write("in.jsonl", question("0", "zero") + &input.join("\n") + "\n");
    harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    harness
}

fn bill(harness: &Harness, args: &[&str]) -> Value {
    let args: Vec<&str> = ["usage", "--format", "json"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn a_bill_adds_up_to_the_status_of_its_run() {
    let harness = used();
    let bill = bill(&harness, &["--by", "user,lane"]);
    let status = harness.status(&[]);
    let total = &bill["total"];
    for (ours, theirs) in [
        ("calls", "attempts"),
        ("failed_calls", "failed_attempts"),
        ("input_tokens", "input_tokens"),
        ("cached_input_tokens", "cached_input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cost_usd", "cost_usd"),
        ("wasted_usd", "wasted_usd"),
    ] {
        assert_eq!(total[ours], status[theirs], "{ours}");
    }
    assert!(total["cost_usd"].as_f64().unwrap() > 0.0);
    let rows = bill["rows"].as_array().unwrap();
    let keys: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["user"], &row["lane"])).collect();
    assert_eq!(
        keys,
        [
            (&json!("ann"), &json!("live")),
            (&json!("bob"), &json!("flex")),
            (&json!("default"), &json!("live"))
        ]
    );
    // 600 tokens at 10, 400 at 1 and 100 at 100 dollars per million: 0.0164, and half of it as flex.
    let flex = &rows[1];
    let calls = flex["calls"].as_f64().unwrap();
    let expected = 0.0082 * calls;
    assert!(
        (flex["cost_usd"].as_f64().unwrap() - expected).abs() < 1e-9,
        "{flex}"
    );
    assert_eq!(
        bill["waste"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["cause"] == "server")
            .count(),
        1
    );
    assert_eq!(bill["prices"], json!([{"route": "a", "source": "settings"}]));
    assert_eq!(bill["unpriced"], json!([]));
}

#[test]
fn a_table_has_a_total_and_says_what_was_paid_for_nothing() {
    let harness = used();
    let ran = harness.nova3(&["usage", "--by", "agent,session"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for part in [
        "agent",
        "insight",
        "\ntotal ",
        "for nothing",
        "server",
        "prices in force now: `a` from the settings",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let by_user = harness.nova3(&["usage", "--by", "user", "--user", "bob"]).out;
    assert!(by_user.contains("only calls of user bob\n"), "{by_user}");
    assert!(!by_user.contains("ann"), "{by_user}");
}

#[test]
fn csv_is_harmless_and_has_no_total() {
    let harness = used();
    let ran = harness.nova3(&["usage", "--by", "model", "--format", "csv"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let rows: Vec<&str> = ran.out.split("\r\n").collect();
    assert_eq!(
        rows[0],
        "model,calls,failed_calls,unpriced_calls,searches,input_tokens,cached_input_tokens,cache_write_tokens,output_tokens,\
         cost_usd,wasted_usd,uncertain_usd"
    );
    assert!(rows[1].starts_with("'=flex,"), "{}", ran.out);
    assert_eq!(
        rows.len(),
        5,
        "a head, the models `=flex`, `m` and its dated name, and the end: {}",
        ran.out
    );
}

#[test]
fn days_runs_and_users_are_filters() {
    let harness = used();
    let count = |args: &[&str]| bill(&harness, args)["total"]["calls"].as_u64().unwrap();
    let all = count(&[]);
    let today = bill(&harness, &["--by", "day"])["rows"][0]["day"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(count(&["--since", &today, "--until", &today]), all);
    assert_eq!(count(&["--run", "in.jsonl"]), all);
    assert!(count(&["--user", "ann"]) < all);
    for args in [
        ["--since", "2999-01-01"],
        ["--until", "1999-01-01"],
        ["--user", "nobody"],
        ["--run", "other"],
    ] {
        let ran = harness.nova3(&[&["usage"], args.as_slice()].concat());
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(4), ""),
            "{args:?}: {}",
            ran.err
        );
    }
}

#[test]
fn wrong_keys_and_days_are_refused_with_the_known_ones() {
    let harness = used();
    for (args, expected) in [
        (
            ["--by", "day,color"],
            "`color` is no key: expected day, user, run, session, agent, route, model, lane, cause",
        ),
        (["--by", "day,day"], "`day` is there twice"),
        (["--by", ""], "`` is no key"),
        (
            ["--since", "yesterday"],
            "`--since` is `yesterday`: expected a day such as `2026-11-30`",
        ),
        (["--until", "2026-02-30"], "`--until` is `2026-02-30`"),
    ] {
        let ran = harness.nova3(&[&["usage"], args.as_slice()].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{expected}: {}", ran.err);
    }
    let ran = harness.nova3(&["usage", "--since", "2026-02-02", "--until", "2026-02-01"]);
    assert!(ran.err.contains("is after"), "{}", ran.err);
}

#[test]
fn calls_without_a_price_are_told_with_the_cure() {
    let model = Scripted::start(counted);
    let harness = setup()
        .with("OPENAI_BASE_URL", &model.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write("in.jsonl", question("0", "zero"));
    harness.nova3(&["run", "in.jsonl"]);
    let ran = harness.nova3(&["usage"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out.contains("no call has a price, so the cost is not known"),
        "{}",
        ran.out
    );
    let shown = bill(&harness, &[]);
    let total = &shown["total"];
    assert_eq!(
        (&total["cost_usd"], &total["unpriced_calls"]),
        (&Value::Null, &json!(1))
    );
    let csv = harness.nova3(&["usage", "--format", "csv"]).out;
    assert!(csv.contains(",100,,,0\r\n"), "an unknown cost is no zero: {csv}");
    let cure = "of route `default`, model `m-2026-01-31` (set `input_usd_per_million` and `output_usd_per_million` in \
                `[routes.default]`)";
    assert!(ran.out.contains(cure), "{}", ran.out);
}

#[test]
fn a_store_without_calls_has_no_bill() {
    let harness = setup();
    let ran = harness.nova3(&["usage"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    harness.write("in.jsonl", "7\n");
    harness.nova3(&["run", "in.jsonl"]);
    let ran = harness.nova3(&["usage"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), ""), "{}", ran.err);
}

#[test]
fn a_batch_line_carries_its_cost() {
    let model = Scripted::start(counted);
    let harness = setup();
    harness.write(
        "nova3.toml",
        format!(
            "[routes.a]\nbase_url = \"{}\"\ninput_usd_per_million = 10\noutput_usd_per_million = 100\n",
            model.base_url()
        ),
    );
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"b\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"messages\":[]}}\n7\n",
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    let results = lines(&ran.out);
    let account = &results[0]["nova3"];
    assert_eq!(
        (
            &account["route"],
            &account["cost_usd"],
            &account["usage"]["cached_input_tokens"]
        ),
        (&json!("a"), &json!(0.02), &json!(400)),
        "{account}"
    );
    assert_eq!(results[0]["response"]["status_code"], 200);
}

/// The export of a provider that counts the same as the store, times a factor.
fn export(harness: &Harness, factor: u32) -> String {
    let bill = bill(harness, &["--by", "day,model"]);
    let rows = bill["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["model"] == "m-2026-01-31").unwrap();
    let (day, count) = (row["day"].as_str().unwrap(), |key: &str| {
        row[key].as_u64().unwrap() * u64::from(factor)
    });
    format!(
        "\u{feff}Date,Model,Region,Requests,Input Tokens,Output Tokens,Cost (USD)\r\n{day},m,\"eu\u{1b}[31m\",{},{},{},{}\r\n",
        count("calls"),
        count("input_tokens"),
        count("output_tokens"),
        row["cost_usd"].as_f64().unwrap() * f64::from(factor),
    )
}

#[test]
fn an_export_that_agrees_ends_well() {
    let harness = used();
    harness.write("export.csv", export(&harness, 1).replace("Cost (USD)", "cost"));
    let ran = harness.nova3(&["usage", "--reconcile", "export.csv"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("the store and the export agree"), "{}", ran.out);
    assert!(
        ran.out.contains("columns that were not used: Region\n"),
        "{}",
        ran.out
    );
}

#[test]
fn an_export_that_differs_is_told_with_probable_causes() {
    let harness = used();
    harness.write("export.csv", export(&harness, 20).replace("Cost (USD)", "cost"));
    let args = ["usage", "--reconcile", "export.csv"];
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(100), "{}{}", ran.out, ran.err);
    for part in ["1 of 1 rows differ", "probable cause: the provider counts more"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let ran = harness.nova3(&[args.as_slice(), &["--format", "json"]].concat());
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &shown["agrees"]), (Some(100), &json!(false)));
    assert_eq!(
        shown["rows"][0]["export"]["input_tokens"].as_u64().unwrap() % 20_000,
        0
    );
}

#[test]
fn the_usage_api_and_other_forms_are_read() {
    let harness = used();
    let bill = bill(&harness, &["--by", "day,model"]);
    let row = bill["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["model"] == "m-2026-01-31")
        .unwrap();
    let day = row["day"].as_str().unwrap();
    let start = format!("{day}T00:00:00Z")
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_second();
    let (input, output) = (&row["input_tokens"], &row["output_tokens"]);
    let page = json!({"object": "page", "data": [{"object": "bucket", "start_time": start, "end_time": start + 86400, "results": [
        {"object": "organization.usage.completions.result", "input_tokens": input, "output_tokens": output,
         "input_cached_tokens": row["cached_input_tokens"], "num_model_requests": 3, "model": "m-2026-01-31", "batch": false},
    ]}], "has_more": false, "next_page": null});
    let fresh = input.as_u64().unwrap() - row["cached_input_tokens"].as_u64().unwrap();
    let cached = &row["cached_input_tokens"];
    let deepseek = format!(
        "user_id,start_time_iso,end_time_iso,model,api_key_name,api_key,type,price,amount\n\
         u,{day}T00:00:00Z,{day}T01:00:00Z,m,k,sk-a,input_cache_hit_tokens,0.000001,{cached}\n\
         u,{day}T00:00:00Z,{day}T01:00:00Z,m,k,sk-a,input_cache_miss_tokens,0.000001,{fresh}\n\
         u,{day}T00:00:00Z,{day}T01:00:00Z,m,k,sk-a,output_tokens,0.000001,{output}\n\
         u,{day}T00:00:00Z,{day}T01:00:00Z,m,k,sk-a,request_count,0,3\n"
    );
    let anthropic = format!(
        "usage_date_utc,model_version,api_key,workspace,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,\
         usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n\
         {day},m-20260131,k,w,{},1,2,{cached},{output}\n",
        fresh - 3
    );
    for (name, text) in [
        ("page.json", page.to_string()),
        ("pages.json", json!([page]).to_string()),
        ("deepseek.csv", deepseek),
        ("anthropic.csv", anthropic),
    ] {
        harness.write(name, &text);
        let ran = harness.nova3(&["usage", "--format", "json", "--reconcile", name]);
        assert_eq!(ran.code, Some(0), "{name}: {}{}", ran.out, ran.err);
        let shown: Value = serde_json::from_str(&ran.out).unwrap();
        let [row] = shown["rows"].as_array().unwrap().as_slice() else {
            panic!("{name}: {shown}");
        };
        assert_eq!(row["store"]["input_tokens"], *input, "{name}: {shown}");
        assert_eq!(row["export"]["input_tokens"], *input, "{name}: {shown}");
        assert_eq!(row["export"]["output_tokens"], *output, "{name}: {shown}");
    }
}

#[test]
fn a_hostile_export_is_refused_or_harmless() {
    let harness = used();
    for (text, expected) in [
        ("", "it is empty"),
        ("\u{feff}  \n", "it is empty"),
        (
            "a,b\n1,2\n",
            "no column has a day and none a model and none tokens or a cost (known names of the day: date, day",
        ),
        ("date,model\n2026-01-01,m\n", "no column has tokens or a cost"),
        ("date,model,cost\nlater,m,1\n", "line 2: `later` is no day"),
        (
            "date,model,cost\n2026-01-01,m,\"1,5\"\n",
            "`1,5` is no cost in dollars",
        ),
        ("\0\0\0", "it is no text"),
        (
            "date,model,cost\n2026-01-01,m,1e300\n",
            "line 2: `1e300` is no cost in dollars",
        ),
        ("date,model,cost\n2026-01-01,m,NaN\n", "`NaN` is no cost"),
        ("date,model,input_tokens\n2026-01-01,m,-5\n", "`-5` is no number"),
        ("date,model,cost\n,,\n", "it has no row with a day and a model"),
        ("date,model,cost\n2026-01-01,m,\u{1b}[2J\n", "[2J` is no cost"),
        (
            "{\"data\":7}",
            "line 1, column 10: it is no answer of OpenAI's usage or costs API",
        ),
        ("{}", "it has no `data` with `results`"),
        (
            r#"{"data":[{"start_time":1,"results":[{"input_tokens":1}]}]}"#,
            "its results name no model",
        ),
        (
            r#"{"data":[{"start_time":99999999999999999,"results":[]}]}"#,
            "is no time",
        ),
        ("[[[[[[[[", "it is no answer of OpenAI's usage or costs API"),
    ] {
        harness.write("export", text);
        let ran = harness.nova3(&["usage", "--reconcile", "export"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{text}: {}", ran.err);
        assert!(ran.err.contains(expected), "{expected}: {}", ran.err);
        assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
    }
    harness.write(
        "export",
        [b"date,model,cost\n2026-01-01,".as_slice(), b"\xff\xfe,1\n"].concat(),
    );
    let ran = harness.nova3(&["usage", "--reconcile", "export"]);
    assert!(
        ran.code == Some(3) && ran.err.contains("it is no UTF-8"),
        "{}",
        ran.err
    );
    // Commas between thousands are none of a decimal.
    harness.write("export", "date,model,cost\n2026-01-01,m,\"$1,234.50\"\n");
    let ran = harness.nova3(&["usage", "--reconcile", "export"]);
    assert!(ran.out.contains("$1234.5000"), "{}{}", ran.out, ran.err);
    // A model with characters that steer a terminal is shown without them.
    harness.write(
        "export",
        "date,model,cost\n2026-01-01,\"x\u{1b}[31m\u{202e}\n=y\",1.5\n",
    );
    let ran = harness.nova3(&["usage", "--reconcile", "export"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    assert!(
        ran.out.contains("x[31m =y") && !ran.out.contains('\u{1b}'),
        "{:?}",
        ran.out
    );
    let ran = harness.nova3(&["usage", "--reconcile", "nowhere.csv"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
}

#[test]
fn a_mock_run_is_free() {
    let harness = setup();
    harness.write_questions("in.jsonl", 2);
    let ran = harness.nova3(&["run", "in.jsonl", "--mock"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let bill = bill(&harness, &["--store", "nova3-mock.db", "--by", "route"]);
    assert_eq!(
        (&bill["total"]["cost_usd"], &bill["total"]["unpriced_calls"]),
        (&json!(0.0), &json!(0))
    );
}
