use super::*;

fn env_of<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

fn load_text(text: &str, flags: &Flags, env: &[(&str, &str)]) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flags = Flags {
        config: Some(file.path().to_path_buf()),
        ..flags.clone()
    };
    Config::load(&flags, &env_of(env)).map_err(|error| error.to_string())
}

const KEY: &[(&str, &str)] = &[("OPENAI_API_KEY", "sk-test")];

#[test]
fn the_environment_alone_is_enough() {
    let env = [
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
        ("OPENAI_MODEL", "m"),
    ];
    let config = load_text("", &Flags::default(), &env).unwrap();
    assert_eq!(config.concurrency, 20);
    assert_eq!(config.routes.len(), 1);
    let route = &config.routes[0];
    assert_eq!(
        (route.name.as_str(), route.model.as_deref()),
        ("default", Some("m"))
    );
    assert_eq!(route.endpoint.as_str(), "http://127.0.0.1:1/v1/chat/completions");
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let given = Given {
        value: 7,
        source: Source::Flag("--concurrency"),
    };
    let flags = Flags {
        concurrency: Some(given),
        ..Flags::default()
    };
    let config = load_text("[run]\nconcurrency = 5\ngrace = \"2m\"", &flags, KEY).unwrap();
    assert_eq!((config.concurrency, config.grace), (7, Duration::from_secs(120)));
    let source = |key: &str| {
        config
            .origins
            .iter()
            .find(|origin| origin.key == key)
            .unwrap()
            .source
            .to_string()
    };
    assert_eq!(source("run.concurrency"), "flag --concurrency");
    assert!(source("run.grace").starts_with("file "));
    assert_eq!(source("timeouts.idle"), "default");
}

#[test]
fn wrong_values_are_named_with_their_cure() {
    let wrong = |text: &str| load_text(text, &Flags::default(), KEY).unwrap_err();
    assert_eq!(
        wrong("[timeouts]\nidle = \"soon\""),
        "`timeouts.idle` is `soon`: expected a duration such as `30s`, `2m` or `1h 30m`"
    );
    assert_eq!(
        wrong("[run]\nconcurrency = 0"),
        "`run.concurrency` is `0`: expected 1 to 100000"
    );
    assert!(wrong("[run]\nspeed = 1").contains("unknown field `speed`"));
    assert!(wrong("[routes.a]\nbase_url = \"ftp://x\"").contains("`routes.a.base_url` is `ftp://x`"));
    assert!(
        wrong("[routes.a]\nmodel='m'\nbase_url='http://h'\n[routes.b]\nmodel='m'\nbase_url='http://h'")
            .contains("`run.model`")
    );
}

#[test]
fn a_missing_key_is_said_before_anything_is_sent() {
    let message = load_text("", &Flags::default(), &[]).unwrap_err();
    assert_eq!(
        message,
        "route `default` has no key (set the variable `OPENAI_API_KEY`, or `api_key_file`, or `no_key = true`; \
         or rehearse with `--mock`)"
    );
}

#[test]
fn the_store_in_force_needs_no_route() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let flags = Flags {
        config: Some(file.path().to_path_buf()),
        ..Flags::default()
    };
    let in_force = |flags: &Flags| store_in_force(flags, &env_of(&[])).unwrap();
    assert_eq!(in_force(&flags), StoreAddress::File(DEFAULT_STORE.into()));
    assert_eq!(
        load_text("", &Flags::default(), KEY).unwrap().store,
        StoreAddress::File(DEFAULT_STORE.into())
    );
    std::fs::write(file.path(), "[run]\nstore = \"other.db\"").unwrap();
    assert_eq!(in_force(&flags), StoreAddress::File("other.db".into()));
    let given = Given {
        value: PathBuf::from("given.db"),
        source: Source::Flag("--store"),
    };
    assert_eq!(
        in_force(&Flags {
            store: Some(given),
            ..flags
        }),
        StoreAddress::File("given.db".into())
    );
}

#[test]
fn an_address_is_shown_without_what_may_be_secret() {
    for secret in [
        "https//u:planted@h/v1",
        "ftp://u:planted@h/v1",
        "https://u:planted@h/v1",
        "ftp://h/v1?key=planted",
    ] {
        let message = load_text("", &Flags::default(), &[KEY[0], ("OPENAI_BASE_URL", secret)]).unwrap_err();
        assert!(!message.contains("planted"), "{message}");
    }
    let env = [KEY[0], ("OPENAI_BASE_URL", "https://h/v1?key=planted")];
    let config = load_text("", &Flags::default(), &env).unwrap();
    assert!(
        config
            .origins
            .iter()
            .all(|origin| !origin.value.contains("planted"))
    );
}

#[test]
fn a_key_is_never_shown() {
    let config = load_text("", &Flags::default(), &[("OPENAI_API_KEY", "sk-planted-secret")]).unwrap();
    assert!(!format!("{config:?}").contains("planted"));
    let bad = load_text("", &Flags::default(), &[("OPENAI_API_KEY", "sk-planted\u{7}")]).unwrap_err();
    assert!(!bad.contains("planted"), "{bad}");
}
