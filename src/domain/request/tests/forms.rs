//! The three forms, and the requests that they become.

use super::*;

#[test]
fn any_prefix_may_stand_before_the_last_part_of_a_url() {
    for (url, endpoint) in [
        ("/v1/chat/completions", Endpoint::Chat),
        ("/chat/completions", Endpoint::Chat),
        ("/v4/chat/completions", Endpoint::Chat),
        (
            "/openai/deployments/d/chat/completions?api-version=1",
            Endpoint::Chat,
        ),
        ("/v1/completions", Endpoint::Completions),
        ("/openai/v1/responses", Endpoint::Responses),
        ("/v1/embeddings/", Endpoint::Embeddings),
    ] {
        let line = format!(r#"{{"custom_id":"c","url":"{url}","body":{{"messages":[],"input":"x"}}}}"#);
        assert_eq!(completion(&line).endpoint, endpoint, "{url}");
    }
}

#[test]
fn a_flat_line_is_read() {
    let read = accepted(
        r#"{"custom_id":"r1","user_id":"u","session_id":"s","query":"q","tasks":["insight",{"action":"facts","input":"i"}],"until":"insight","model":"m","priority":-3,"metadata":{"b": 1, "a":[]}}"#,
    );
    let request = read.request;
    assert_eq!(read.identity, Identity::Custom("r1".to_owned()));
    assert_eq!(request.custom_id.as_deref(), Some("r1"));
    assert_eq!(request.user.as_str(), "u");
    assert_eq!(request.session.unwrap().as_str(), "s");
    assert_eq!(request.model.as_deref(), Some("m"));
    assert_eq!(request.priority, -3);
    assert_eq!(request.metadata.unwrap().get(), r#"{"b": 1, "a":[]}"#);
    let Work::Brief(brief) = request.work else {
        panic!("expected a brief");
    };
    let task = |action: &str, input: Option<&str>| GivenTask {
        action: Action::parse(action).unwrap(),
        input: input.map(str::to_owned),
    };
    let expected = Brief {
        query: Some("q".to_owned()),
        interaction: Interaction::FullAnalysis,
        background: Background::default(),
        context: None,
        row: None,
        selections: Selections::default(),
        references: Vec::new(),
        auto: true,
        tasks: Some(vec![task("insight", None), task("facts", Some("i"))]),
        until: Action::parse("insight"),
    };
    assert_eq!(*brief, expected);
}

#[test]
fn an_envelope_is_read() {
    let read = accepted(
        r#"{"user_id":"demo_user","session_id":"s1","request_data":{"query":"结合@insight1","interaction_type":"nova3_select","background":{"account_name":"美妆","platform":null,"previous_content":["p"]},"interaction_context":{"k":[1]},"nova3_selections":{"nova3_xhs_post":[{"id":"xhs_post1","title":"t","content":"c","selected":false,"user_comment":"no"}],"nova3_insight":[{"id":"insight1","content":"i","selected":true},{"id":"insight2","content":"j"}],"task_context":"tc"},"references":["@xhs_post12"],"auto":false,"user_selections":[],"file_ids":null}}"#,
    );
    assert_eq!(read.identity, Identity::Content(read.content));
    let Work::Brief(brief) = read.request.work else {
        panic!("expected a brief");
    };
    let item = |list: &str, id: &str, content: &str, selected| Selection {
        list: list.to_owned(),
        id: id.to_owned(),
        title: None,
        content: content.to_owned(),
        selected,
        user_comment: None,
    };
    let expected = Brief {
        query: Some("结合@insight1".to_owned()),
        interaction: Interaction::Select,
        background: Background {
            account_name: Some("美妆".to_owned()),
            previous_content: vec!["p".to_owned()],
            ..Background::default()
        },
        context: Some(json!({"k":[1]})),
        row: None,
        selections: Selections {
            items: vec![
                item("nova3_insight", "insight1", "i", true),
                item("nova3_insight", "insight2", "j", true),
                Selection {
                    title: Some("t".to_owned()),
                    user_comment: Some("no".to_owned()),
                    ..item("nova3_xhs_post", "xhs_post1", "c", false)
                },
            ],
            task_context: Some("tc".to_owned()),
        },
        references: vec!["@xhs_post12".to_owned()],
        auto: false,
        tasks: None,
        until: None,
    };
    assert_eq!(*brief, expected);
    let chosen: Vec<_> = brief.selections.chosen().map(|item| &item.id).collect();
    assert_eq!(chosen, ["insight1", "insight2"]);
}

#[test]
fn a_batch_line_keeps_its_body_byte_for_byte() {
    let body = r#"{ "messages" : [ {"role":"user","content":"\u00e9 é"} ], "n": 1.0, "x":1e3, "x":2 }"#;
    let line = format!(r#"{{"custom_id":"c","method":"POST","url":"/v1/chat/completions","body": {body} }}"#);
    let completion = completion(&line);
    assert_eq!(completion.body.get(), body);
    assert!(!completion.streams);
    for (stream, expected) in [("true", true), ("false", false), ("null", false), ("1", false)] {
        let line = format!(r#"{{"session_id":"s","body":{{"messages":[],"stream":{stream}}}}}"#);
        assert_eq!(self::completion(&line).streams, expected, "{stream}");
    }
}

#[test]
fn absent_and_null_are_the_same() {
    let nulls = accepted(
        r#"{"query":"q","custom_id":null,"user_id":null,"session_id":null,"tasks":null,"until":null,"model":null,"priority":null,"metadata":null,"background":null,"nova3_selections":null,"references":null,"auto":null,"interaction_type":null,"interaction_context":null}"#,
    );
    let plain = accepted(r#"{"query":"q"}"#);
    assert_eq!(nulls.request.to_stored(), plain.request.to_stored());
    assert_eq!(nulls.notes, plain.notes);
    assert_eq!(plain.request.user.as_str(), "default");
}

#[test]
fn a_query_may_be_absent_beside_a_selection_or_a_reference() {
    for line in [
        r#"{"references":["@insight1"]}"#,
        r#"{"query":"","references":["@insight1"]}"#,
        r#"{"query":" \n","nova3_selections":{"nova3_facts":[{"id":"fact1","content":"c","selected":false}]}}"#,
    ] {
        assert_eq!(brief(line).query, None, "{line}");
    }
    let longest = "字".repeat(5000);
    assert_eq!(brief(&format!(r#"{{"query":"{longest}"}}"#)).query, Some(longest));
}

#[test]
fn a_task_takes_its_description_where_it_has_no_input() {
    let tasks = brief(
        r#"{"query":"q","tasks":[{"action":"insight","description":"d"},{"action":"facts","description":"d","input":"i"},{"action":"answer","input":" "}]}"#,
    )
    .tasks
    .unwrap();
    let inputs: Vec<_> = tasks.iter().map(|task| task.input.as_deref()).collect();
    assert_eq!(inputs, [Some("d"), Some("i"), None]);
}

#[test]
fn a_request_survives_storage() {
    for line in [
        r#"{"query":"q"}"#,
        r#"{"custom_id":"é","query":"q\n\u2028","metadata": [ 1.0, {"b":1e30} ] ,"priority":5,"model":"m"}"#,
        r#"{"user_id":"u","session_id":"s","request_data":{"interaction_type":"nova3_continue","references":["@insight1"],"background":{"industry":"i"},"interaction_context":{"$serde_json::private::RawValue":"[broken","f":0.1}},"tasks":["facts"],"until":"facts"}"#,
        r#"{"custom_id":"c","body":{ "messages" :[],"stream":true,"big":123456789012345678901234567890 }}"#,
    ] {
        let request = accepted(line).request;
        let stored = request.to_stored();
        let read = Request::from_stored(&stored).unwrap();
        assert_eq!(read.to_stored(), stored);
        assert!(!stored.contains('\n'), "{stored}");
        match (&request.work, &read.work) {
            (Work::Brief(before), Work::Brief(after)) => assert_eq!(before, after),
            (Work::Completion(before), Work::Completion(after)) => {
                assert_eq!(before.body.get(), after.body.get());
            }
            _ => panic!("the work changed its kind: {stored}"),
        }
    }
}

#[test]
fn the_digests_are_those_of_the_documented_forms() {
    let read = accepted(r#"{"query":"q","priority":2,"custom_id":"é","metadata":{"b":1,"a":2}}"#);
    assert_eq!(
        read.content,
        Digest::of(r#"{"custom_id":"é","query":"q"}"#.as_bytes())
    );
    assert_eq!(
        read.notes,
        Digest::of(br#"{"metadata":{"a":2,"b":1},"priority":2}"#)
    );
    let read = accepted(r#"{"body":{"n":1,"messages":[]}}"#);
    assert_eq!(read.content, Digest::of(br#"{"body":{"messages":[],"n":1}}"#));
    assert_eq!(read.notes, Digest::of(br#"{"metadata":null,"priority":0}"#));
}

#[test]
fn the_example_lines_of_the_service_are_accepted() {
    for (line, interaction) in [
        (
            r#"{"user_id":"demo_user","session_id":"beauty_strategy_001","request_data":{"query":"深入研究小红书美妆内容策略，分析用户群体，制定爆款方向并创作示例","interaction_type":"full_analysis","background":{"account_name":"美妆研究室","platform":"小红书","target_audience":"20-35岁都市女性","industry":"美妆护肤"}}}"#,
            Interaction::FullAnalysis,
        ),
        (
            r#"{"user_id":"demo_user","session_id":"beauty_strategy_001","request_data":{"query":"结合@insight1和@profile1，创作一篇针对个性化需求的小红书内容","interaction_type":"nova3_continue"}}"#,
            Interaction::Continue,
        ),
        (
            r#"{"user_id":"demo_user","session_id":"simple_query_001","request_data":{"query":"Nova3系统有哪些功能？","interaction_type":"quick_suggestion"}}"#,
            Interaction::QuickSuggestion,
        ),
    ] {
        assert_eq!(brief(line).interaction, interaction);
    }
}
