//! Tests mistakes in provider files: each error names the file, the line, the key, the value and the expected value.

use super::harness::{Harness, provider, setup};

fn good() -> String {
    provider(
        "one",
        "https://example.com",
        "key_env = \"ONE_KEY\"\nrpm = 60\ntimeout = \"5s\"",
    )
    .replace("[query]", "[headers]\nx-key = \"{{ key }}\"\n\n[query]")
}

/// Returns the error about a file, without the folder.
fn message_of(text: &str) -> String {
    error_of(&setup(&["one"]).file("one.toml", text))
}

fn error_of(harness: &Harness) -> String {
    let error = harness.load().unwrap_err().to_string();
    error.replace(&harness.path("search/"), "")
}

#[test]
fn a_good_file_is_accepted() {
    assert!(setup(&["one"]).file("one.toml", &good()).load().is_ok());
    // A fixed address may have its own query. Headers are optional.
    let fixed = "name = \"one\"\nurl = \"https://h/s?format=json\"\n\
                 [answer]\nitems = [\"\"]\n[item]\ntext = [\"/text\"]\n";
    assert!(setup(&["one"]).file("one.toml", fixed).load().is_ok());
}

/// A part of [`good`], the text that replaces it, and the expected message.
const MISTAKES: [(&str, &str, &str); 33] = [
    (
        "rpm = 60",
        "rpm = 0",
        "line 4: `rpm` is `0`: expected 1 to 1000000 requests a minute",
    ),
    (
        "rpm = 60",
        "rpm = \"many\"",
        "line 4: invalid type: string \"many\", expected u32",
    ),
    (
        "rpm = 60",
        "rmp = 60",
        "line 4: unknown field `rmp`, expected one of `name`, ",
    ),
    (
        "\"5s\"",
        "\"soon\"",
        "line 5: `timeout` is `soon`: expected a duration above zero and at most `1h`, such as `10s` or `500ms`",
    ),
    (
        "\"5s\"",
        "\"0s\"",
        "line 5: `timeout` is `0s`: expected a duration above zero and at most `1h`, such as `10s` or `500ms`",
    ),
    (
        "\"5s\"",
        "\"2h\"",
        "line 5: `timeout` is `2h`: expected a duration above zero and at most `1h`, such as `10s` or `500ms`",
    ),
    (
        "name = \"one\"",
        "name = \"One\"",
        "line 1: `name` is `One`: expected a lower-case name such as `jina`",
    ),
    (
        "name = \"one\"",
        "name = \"cached\"",
        "line 1: `name` is `cached`: expected another name (`cached`, `default` and `http` are reserved)",
    ),
    (
        "https://example.com/",
        "http://example.com/",
        "line 2: `url` would send the key over plain http: expected an `https` address",
    ),
    (
        "https://example.com/",
        "ftp://example.com/",
        "line 2: `url` is `…`: expected an address such as ",
    ),
    (
        "https://example.com/",
        "https://{{ query }}.example.com/",
        "line 2: `url` is `…`: expected an address such as ",
    ),
    (
        "https://example.com/",
        "https://u:p@example.com/",
        "line 2: `url` is `…`: expected an address such as ",
    ),
    (
        "/search\"",
        "/search/{{ words }}\"",
        "line 2: `url`: undefined value",
    ),
    (
        "\"{{ key }}\"",
        "\"none\"",
        "line 3: the key is never sent: expected `{{ key }}` in `headers` or `query`",
    ),
    (
        "\"{{ key }}\"",
        "\"monkey\"",
        "line 3: the key is never sent: expected `{{ key }}` in `headers` or `query`",
    ),
    (
        "/search\"",
        "/search/{{ query }}#top\"",
        "line 2: `url` contains `#`: expected an address without it",
    ),
    (
        "key_env = \"ONE_KEY\"",
        "",
        "line 7: `headers.x-key`: undefined value",
    ),
    (
        "key_env = \"ONE_KEY\"",
        "key_env = \"sk-planted\"",
        "line 3: `key_env` is `…`: expected the name of an environment variable",
    ),
    (
        "key_env = \"ONE_KEY\"",
        "key_env = \"A\"\nkey_file = \"b\"",
        "line 3: `key_env` and `key_file` name two keys: expected one of them",
    ),
    (
        "key_env = \"ONE_KEY\"",
        "key_file = \"/nowhere/key\"",
        "line 3: settings file `/nowhere/key`: ",
    ),
    (
        "rpm = 60",
        "method = \"PUT\"",
        "line 4: `method` is `PUT`: expected `GET` or `POST`",
    ),
    (
        "[query]",
        "[body]\nq = 1\n\n[query]",
        "line 9: `body` is not sent with `GET`: expected `method = \"POST\"`",
    ),
    (
        "q = \"{{ query }}\"",
        "q = \"{{ query\"",
        "line 10: `query.q`: syntax error",
    ),
    (
        "q = \"{{ query }}\"",
        "q = \"{{ words }}\"",
        "line 10: `query.q`: undefined value",
    ),
    (
        "x-key",
        "\"x key\"",
        "line 7: `headers.x key` is not a header name",
    ),
    (
        "[\"/items\"]",
        "[\"items\"]",
        "line 16: `answer.items` is `items`: expected JSON pointers such as `/data/items`",
    ),
    (
        "at = \"/code\"",
        "at = \"code\"",
        "line 13: `answer.success.at` is `code`: expected a JSON pointer such as `/code`",
    ),
    (
        "is = [0]",
        "is = [[]]",
        "line 13: `answer.success.is` is `[[]]`: expected a list of numbers, texts and \
         booleans, such as `[0, 200]`",
    ),
    (
        "code = [601]",
        "status = [601]",
        "line 25: `terminal.status` is `601`: expected HTTP status codes from 200 to 599",
    ),
    (
        "usd = 0.25",
        "usd = -1.0",
        "line 34: `cost.usd` is `-1`: expected 0 to 10 dollars",
    ),
    (
        "usd = 0.25",
        "units_at = [\"/u\"]",
        "line 34: `cost.units_at` needs a price: expected `cost.usd_per_million_units`",
    ),
    (
        "[item]",
        "[item]\nlink = \"https://h/{{ id }}\"",
        "line 19: `item.link` needs an id: expected `item.id = [\"/id\"]`",
    ),
    (
        "[item]",
        "[item]\nid = [\"/id\"]\nlink = \"{{ id }}\"",
        "line 20: `item.link` is `{{ id }}`: expected an address such as ",
    ),
];

#[test]
fn each_mistake_is_reported_with_the_expected_value() {
    for (written, instead, expected) in MISTAKES {
        let text = good();
        assert!(text.contains(written), "{written}");
        let message = message_of(&text.replacen(written, instead, 1));
        let expected = format!("search file `one.toml` {expected}");
        assert!(
            message.starts_with(&expected),
            "{instead}:\n  {message}\n  {expected}"
        );
        assert!(!message.contains("planted"), "{message}");
    }
    assert!(message_of("name = \"one\"\n").starts_with("search file `one.toml` line 1: missing field "));
}

#[test]
fn a_body_is_checked_too() {
    let text = good()
        .replace("rpm = 60", "method = \"POST\"")
        .replace("[query]", "[body]\nq = \"{{ key }}\"\n\n[query]");
    assert_eq!(
        message_of(&text),
        "search file `one.toml` line 9: `body`: `key` is undefined here"
    );
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let text = format!("{}{}", good(), "#".repeat(1 << 20));
    assert_eq!(
        message_of(&text),
        "search file `one.toml`: it is too large: expected at most 1048576 bytes"
    );
}

#[test]
fn a_folder_replaces_and_adds_providers() {
    let mine = provider("jina", "https://example.com", "description = \"mine\"");
    let harness = setup(&["jina", "one"])
        .file("a.toml", &mine)
        .file("one.toml", &good());
    let (providers, _) = harness.load().unwrap();
    let of = |name: &str| {
        providers
            .all()
            .iter()
            .filter(|provider| provider.name == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (
            of("jina").len(),
            of("jina")[0].description.as_str(),
            of("jina")[0].embedded
        ),
        (1, "mine", false)
    );
    assert_eq!((of("one").len(), of("xhs")[0].embedded), (1, true));
    let twice = harness.file("b.toml", &mine);
    assert_eq!(
        error_of(&twice),
        format!(
            "search file `b.toml`: `name` is `jina`, also in `{}`: expected one file for each name",
            "a.toml"
        )
    );
}

#[test]
fn a_chain_of_unknown_names_is_refused() {
    let message = setup(&["jina", "nowhere"]).load().unwrap_err().to_string();
    assert!(
        message.starts_with(
            "search file `nova3.toml`: `search.providers` names `nowhere`: expected one of `jina`, `xhs`, "
        ),
        "{message}"
    );
}
