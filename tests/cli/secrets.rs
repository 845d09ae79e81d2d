//! A planted key is searched for in every output of the program.

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, Running, setup, setup_with, slow, until};
use crate::cli::provider::{Say, Scripted};

const KEY: &str = "sk-proj-PlantedKey0123456789abcdefABCDEF";

/// Asserts that the key is in no file that the program made, and in no printed text.
fn nowhere(harness: &Harness, said: &[&str]) {
    assert!(said.iter().all(|text| !text.contains("PlantedKey")), "{said:?}");
    for entry in std::fs::read_dir(harness.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("key") {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(10).any(|part| part == b"PlantedKey"),
                "in {}",
                path.display()
            );
        }
    }
}

#[test]
fn a_key_is_nowhere_after_good_and_bad_runs() {
    let (harness, provider) = setup_with(MockConfig {
        api_key: Some(KEY.to_owned()),
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 3);
    harness.write("key", format!("{KEY}\n"));
    let harness = harness.with("OPENAI_API_KEY", KEY);
    for args in [
        &["run", "in.jsonl", "-vvv"][..],
        &["config"],
        &["config", "--json"],
        &["status", "--json"],
        &["results"],
        &["run", "--help"],
    ] {
        let ran = harness.nova3(args);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        nowhere(&harness, &[&ran.out, &ran.err]);
    }
    let settings = format!(
        "[routes.a]\nbase_url = \"{}\"\nmodel = \"m\"\napi_key_file = \"key\"\n",
        provider.base_url()
    );
    harness.write("nova3.toml", settings);
    let ran = harness.nova3(&["run", "in.jsonl", "-vvv", "--run", "file", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    nowhere(&harness, &[&ran.out, &ran.err]);
    assert_eq!(provider.calls(), 6);
}

#[test]
fn a_key_that_a_provider_echoes_is_masked() {
    let provider = Scripted::start(|_| {
        let body = format!(
            r#"{{"error":{{"message":"Incorrect API key provided: {KEY}.","type":"invalid_request_error","code":"invalid_api_key"}}}}"#
        );
        Say {
            status: 401,
            headers: "content-type: application/json\r\n",
            body,
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m")
        .with("OPENAI_API_KEY", KEY);
    harness.write_questions("in.jsonl", 2);
    let ran = harness.nova3(&["run", "in.jsonl", "-vvv", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(105));
    nowhere(&harness, &[&ran.out, &ran.err]);
    harness.write("batch.jsonl", "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"messages\":[]}}\n");
    let ran = harness.nova3(&["run", "batch.jsonl", "-vvv", "-o", "out2.jsonl"]);
    assert_eq!(ran.code, Some(105));
    nowhere(&harness, &[&ran.out, &ran.err]);
}

#[test]
fn a_key_is_not_in_arguments_or_the_lock_of_a_run_under_way() {
    let (harness, slow) = setup_with(slow());
    harness.write_questions("in.jsonl", 1);
    let harness = harness.with("OPENAI_API_KEY", KEY);
    let mut run = Running::start(harness.command(&["run", "in.jsonl"]));
    until("a call is on its way", || slow.calls() == 1);
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", run.child().id())).unwrap();
    let lock = harness.read("nova3.db.lock");
    assert!(
        lock.starts_with(&format!(
            "nova3 store lock, held by process {} since ",
            run.child().id()
        )),
        "{lock}"
    );
    nowhere(&harness, &[&arguments, &lock]);
}

#[test]
fn an_address_with_a_password_is_refused_without_being_repeated() {
    for address in [
        "https://u:PlantedKey@h/v1",
        "https//u:PlantedKey@h/v1",
        "ftp://PlantedKey@h",
        "ftp://h/v1?k=PlantedKey",
    ] {
        let harness = setup()
            .with("OPENAI_BASE_URL", address)
            .with("OPENAI_API_KEY", "k");
        harness.write_questions("in.jsonl", 1);
        for args in [&["run", "in.jsonl"][..], &["config"], &["check", "in.jsonl"]] {
            let ran = harness.nova3(args);
            assert_eq!(ran.code, Some(2), "{}", ran.err);
            nowhere(&harness, &[&ran.out, &ran.err]);
        }
    }
    let harness = setup().with("OPENAI_API_KEY", "sk PlantedKey\u{7}");
    let ran = harness.nova3(&["config"]);
    assert_eq!(ran.code, Some(2));
    nowhere(&harness, &[&ran.out, &ran.err]);
}

#[test]
fn a_query_in_the_address_is_not_told_when_the_network_fails() {
    let harness = setup()
        .with("OPENAI_BASE_URL", "http://127.0.0.1:1/v1?key=PlantedKey")
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "-vvv", "--give-up", "100ms"]);
    assert_eq!(ran.code, Some(105));
    nowhere(&harness, &[&ran.out, &ran.err]);
}
