//! The table of prices: built in, or of the user.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, lines, setup};
use crate::cli::model::says;
use crate::cli::provider::Scripted;

fn config(harness: &Harness) -> Value {
    let ran = harness.nova3(&["config", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn each_price_is_shown_with_its_source() {
    let harness = setup();
    harness.write(
        "nova3.toml",
        "[run]\nmodel = \"a\"\n[routes.a]\nbase_url = \"https://api.openai.com/v1\"\nmodel = \"gpt-4.1-mini\"\nno_key = true\n\
         [routes.b]\nbase_url = \"https://api.deepseek.com/v1\"\nmodel = \"deepseek-v4-pro\"\nno_key = true\ninput_usd_per_million = 1\n\
         output_usd_per_million = 2\n[routes.c]\nbase_url = \"http://localhost:9/v1\"\nmodel = \"gpt-4.1-mini\"\nno_key = true\n\
         [routes.d]\nbase_url = \"https://gateway.example/v1\"\nmodel = \"gpt-4.1-mini\"\nno_key = true\n",
    );
    let shown = config(&harness);
    let price = &shown["routes.a.price"];
    assert_eq!(
        price["value"],
        "$0.4 in, $0.1 cached, $1.6 out, batch x0.5, priority x1.75"
    );
    assert_eq!(
        price["source"],
        "built-in table of 2026-11-30 (https://developers.openai.com/api/docs/pricing)"
    );
    assert_eq!(
        shown["routes.b.price"],
        json!({"value": "$1 in, $2 out", "source": "file nova3.toml"})
    );
    assert!(
        shown.get("routes.c.price").is_none(),
        "a local server has no price, whatever its model"
    );
    assert!(
        shown.get("routes.d.price").is_none(),
        "an unknown host has none either"
    );
}

#[test]
fn a_cap_takes_a_listed_price_and_names_what_is_missing() {
    let harness = setup().with("OPENAI_API_KEY", "k");
    harness.write("in.jsonl", "{\"query\":\"q\",\"tasks\":[\"insight\"]}\n");
    let estimate = |model: &str| {
        harness.write(
            "nova3.toml",
            format!("[routes.a]\nbase_url = \"https://api.openai.com/v1\"\nmodel = \"{model}\"\napi_key_env = \"OPENAI_API_KEY\"\n"),
        );
        harness.nova3(&["run", "in.jsonl", "--dry-run", "--max-cost", "1"])
    };
    let ran = estimate("gpt-4.1-mini");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(!ran.out.contains("has no price"), "{}", ran.out);
    assert!(
        ran.out
            .contains("the price of `a` is from the built-in table of 2026-11-30"),
        "{}",
        ran.out
    );
    let ran = estimate("my-model");
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    let expected = "route `a` has no price, and the built-in table of 2026-11-30 does not have model `my-model` (set \
                    `input_usd_per_million`";
    assert!(ran.err.contains(expected), "{}", ran.err);
}

#[test]
fn a_file_of_the_user_replaces_the_table() {
    let harness = setup();
    let table = |rows: &str| {
        let text = format!(
            "date = \"2026-10-01\"\n[per_dollar]\nCNY = 8\n[[provider]]\nname = \"Mine\"\nhosts = [\"gateway.example\"]\n\
             currency = \"CNY\"\nsource = \"the contract\"\nmodels = [{rows}]\n"
        );
        harness.write("prices.toml", text);
    };
    harness.write(
        "nova3.toml",
        "[prices]\nfile = \"prices.toml\"\n[routes.a]\nbase_url = \"https://gateway.example/v1\"\nmodel = \"m-1\"\nno_key = true\n",
    );
    table("{ model = \"m-*\", input = 4, output = 16 }");
    let shown = config(&harness);
    assert_eq!(
        shown["routes.a.price"],
        json!({"value": "$0.5 in, $2 out", "source": "table `prices.toml` of 2026-10-01 (the contract)"})
    );
    assert_eq!(shown["prices.file"]["value"], "prices.toml");
    table("{ model = \"m\", input = 4 }");
    let ran = harness.nova3(&["config"]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(
        ran.err.contains("prices.toml") && ran.err.contains("missing field `output`"),
        "{}",
        ran.err
    );
    std::fs::remove_file(harness.path("prices.toml")).unwrap();
    assert_eq!(harness.nova3(&["config"]).code, Some(2), "a missing file is told");
}

#[test]
fn a_batch_line_without_a_known_price_fails_alone_under_a_cap() {
    let model = Scripted::start(|_| says("an answer"));
    let harness = setup();
    let host = model.base_url();
    let host = host
        .trim_start_matches("http://")
        .split(':')
        .next()
        .unwrap()
        .to_owned();
    harness.write(
        "prices.toml",
        format!(
            "date = \"2026-10-01\"\n[[provider]]\nname = \"Mine\"\nhosts = [\"{host}\"]\nsource = \"s\"\nmodels = [{{ model = \"m\", \
             input = 1, output = 1 }}]\n"
        ),
    );
    harness.write(
        "nova3.toml",
        format!(
            "[prices]\nfile = \"prices.toml\"\n[routes.a]\nbase_url = \"{}\"\nmax_tokens = 100\n",
            model.base_url()
        ),
    );
    let line = |id: &str, model: &str| {
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"{model}\",\
             \"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}}}\n"
        )
    };
    harness.write("in.jsonl", line("known", "m") + &line("unknown", "n"));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order", "--max-cost", "1"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(results[0]["response"]["status_code"], 200, "{}", ran.out);
    assert!(
        results[0]["nova3"]["cost_usd"].as_f64().unwrap() > 0.0,
        "{}",
        ran.out
    );
    let message = results[1]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("route `a` has no price for model `n`, and the run has a cost cap"),
        "{message}"
    );
    assert_eq!(model.bodies().len(), 1, "the call without a price was not sent");
}
