//! The rules of values, each with its whole message.

use super::*;

const INTERACTIONS: &str = "`full_analysis`, `quick_suggestion`, `nova3_continue`, `nova3_select`";

#[test]
fn values_of_the_wrong_kind_are_named() {
    check_messages(&[
        (
            r#"{"query":1}"#,
            "expected `query` to be a string, got a number (put it in quotes)",
        ),
        (
            r#"{"request_data":[]}"#,
            "expected `request_data` to be an object, got a list",
        ),
        (
            r#"{"request_data":null}"#,
            "expected `request_data` to be an object, got null",
        ),
        (
            r#"{"request_data":{"query":{}}}"#,
            "expected `request_data.query` to be a string, got an object",
        ),
        (
            r#"{"query":"q","background":"b"}"#,
            "expected `background` to be an object, got a string",
        ),
        (
            r#"{"query":"q","background":{"industry":[]}}"#,
            "expected `background.industry` to be a string, got a list",
        ),
        (
            r#"{"query":"q","background":{"previous_content":["a",2]}}"#,
            "expected `background.previous_content[1]` to be a string, got a number (put it in quotes)",
        ),
        (
            r#"{"query":"q","background":{"previous_content":"a"}}"#,
            "expected `background.previous_content` to be a list, got a string",
        ),
        (
            r#"{"query":"q","background":{"product":"p"}}"#,
            "expected `background.product` to be an object, got a string",
        ),
        (
            r#"{"query":"q","background":{"product":{"price":89}}}"#,
            "expected `background.product.price` to be a string, got a number (put it in quotes)",
        ),
        (
            r#"{"request_data":{"query":"q","background":{"product":{"points":["a",null]}}}}"#,
            "expected `request_data.background.product.points[1]` to be a string, got null",
        ),
        (
            r#"{"query":"q","interaction_context":[]}"#,
            "expected `interaction_context` to be an object, got a list",
        ),
        (
            r#"{"query":"q","auto":"true"}"#,
            "expected `auto` to be a boolean, got a string (remove the quotes)",
        ),
        (
            r#"{"query":"q","auto":1}"#,
            "expected `auto` to be a boolean, got a number",
        ),
        (
            r#"{"query":"q","nova3_selections":[]}"#,
            "expected `nova3_selections` to be an object, got a list",
        ),
        (
            r#"{"query":"q","nova3_selections":{"nova3_facts":{}}}"#,
            "expected `nova3_selections.nova3_facts` to be a list, got an object",
        ),
        (
            r#"{"query":"q","nova3_selections":{"nova3_facts":["fact1"]}}"#,
            "expected `nova3_selections.nova3_facts[0]` to be an object, got a string",
        ),
        (
            r#"{"query":"q","nova3_selections":{"nova3_facts":[{"id":"fact1"}]}}"#,
            "expected `nova3_selections.nova3_facts[0]` to have `content`, got none",
        ),
        (
            r#"{"query":"q","nova3_selections":{"nova3_facts":[{"content":"c"}]}}"#,
            "expected `nova3_selections.nova3_facts[0]` to have `id`, got none",
        ),
        (
            r#"{"query":"q","nova3_selections":{"task_context":1}}"#,
            "expected `nova3_selections.task_context` to be a string, got a number (put it in quotes)",
        ),
        (
            r#"{"query":"a\u0000b"}"#,
            "expected `query` without NUL characters, got one (remove it)",
        ),
    ]);
}

#[test]
fn the_rules_of_a_brief_are_kept() {
    let absent = "(it may be absent only beside a selection or a reference)";
    check_messages(&[
        (
            "{}",
            &format!("expected `query` to have 1 to 5000 characters, got none {absent}"),
        ),
        (
            r#"{"request_data":{"query":" "}}"#,
            &format!("expected `request_data.query` to have 1 to 5000 characters, got an empty one {absent}"),
        ),
        (
            r#"{"nova3_selections":{"nova3_facts":[],"task_context":"t"},"references":[]}"#,
            &format!("expected `query` to have 1 to 5000 characters, got none {absent}"),
        ),
        (
            &format!(r#"{{"query":"{}"}}"#, "字".repeat(5001)),
            "expected `query` to have at most 5000 characters, got 5001 (shorten it, move source text into `background.previous_content`, or split it into several requests)",
        ),
        (
            r#"{"query":"q","interaction_type":"write_copy"}"#,
            &format!(
                "expected `interaction_type` of nova3, got `write_copy` of another product of the Nova family (known: {INTERACTIONS})"
            ),
        ),
        (
            r#"{"request_data":{"query":"q","interaction_type":"x"}}"#,
            &format!("expected a known `request_data.interaction_type`, got `x` (known: {INTERACTIONS})"),
        ),
        (
            r#"{"query":"q","file_ids":["f"]}"#,
            "expected `file_ids` to be empty, got a list of 1 (it belongs to another product of the Nova family; remove it)",
        ),
        (
            r#"{"query":"q","user_selections":[{},{}]}"#,
            "expected `user_selections` to be empty, got a list of 2 (it belongs to another product of the Nova family; remove it)",
        ),
    ]);
    for reference in [
        "insight1",
        "@",
        "@1",
        "@insight",
        "@in sight1",
        "@_1",
        "@a1b",
        "@洞察1",
        "@a１",
    ] {
        assert_eq!(
            bad(json!({"references": ["@insight1", reference]}).to_string()).message,
            format!("expected `references[1]` to look like `@insight1`, got `{reference}`"),
        );
    }
}

#[test]
fn the_rules_of_the_keys_beside_are_kept() {
    check_messages(&[
        (
            r#"{"query":"q","custom_id":""}"#,
            "expected `custom_id` to have 1 to 200 characters, got 0",
        ),
        (
            &format!(r#"{{"query":"q","custom_id":"{}"}}"#, "é".repeat(201)),
            "expected `custom_id` to have 1 to 200 characters, got 201",
        ),
        (
            r#"{"query":"q","custom_id":"a\u0007"}"#,
            "expected `custom_id` without control characters, got `a\u{fffd}` (remove them)",
        ),
        (
            r#"{"query":"q","custom_id":7}"#,
            "expected `custom_id` to be a string, got a number (put it in quotes)",
        ),
        (
            r#"{"query":"q","user_id":"a b"}"#,
            "`user_id`: expected 1 to 100 characters of `A-Z a-z 0-9 _ -`, got `a b`",
        ),
        (
            r#"{"query":"q","session_id":""}"#,
            "`session_id`: expected 1 to 100 characters of `A-Z a-z 0-9 _ -`, got ``",
        ),
        (
            r#"{"query":"q","model":""}"#,
            "expected `model` to name a route or chain, got an empty string (remove the key to use the default)",
        ),
        (
            r#"{"query":"q","priority":1.5}"#,
            "expected `priority` to be an integer from -2147483648 to 2147483647, got `1.5`",
        ),
        (
            r#"{"query":"q","priority":2147483648}"#,
            "expected `priority` to be an integer from -2147483648 to 2147483647, got `2147483648`",
        ),
        (
            r#"{"query":"q","priority":"1"}"#,
            "expected `priority` to be an integer, got a string",
        ),
        (
            r#"{"query":"q","tasks":[]}"#,
            "expected `tasks` to hold 1 to 10 tasks, got 0",
        ),
        (
            r#"{"query":"q","tasks":[1,2,3,4,5,6,7,8,9,10,11]}"#,
            "expected `tasks` to hold 1 to 10 tasks, got 11",
        ),
        (
            r#"{"query":"q","tasks":"insight"}"#,
            "expected `tasks` to be a list, got a string",
        ),
        (
            r#"{"query":"q","tasks":[1]}"#,
            "expected `tasks[0]` to be an action or an object, got a number",
        ),
        (
            r#"{"query":"q","tasks":["insight","Dance"]}"#,
            "expected `tasks[1]` to be an action such as `insight`, got `Dance`",
        ),
        (
            r#"{"query":"q","tasks":[{"action":"dance!"}]}"#,
            "expected `tasks[0].action` to be an action such as `insight`, got `dance!`",
        ),
        (
            r#"{"query":"q","tasks":[{"input":"i"}]}"#,
            "expected `tasks[0]` to have an `action`, got none",
        ),
        (
            r#"{"query":"q","until":"the end"}"#,
            "expected `until` to be an action such as `insight`, got `the end`",
        ),
    ]);
    let longest = "é".repeat(200);
    let line = format!(r#"{{"query":"q","custom_id":"{longest}"}}"#);
    assert_eq!(accepted(&line).request.custom_id, Some(longest));
}

#[test]
fn the_rules_of_a_batch_line_are_kept() {
    check_messages(&[
        (r#"{"body":null}"#, "expected `body` to be an object, got null"),
        (r#"{"body":"x"}"#, "expected `body` to be an object, got a string"),
        (
            r#"{"body":{}}"#,
            "expected `body` to have a list `messages`, got none",
        ),
        (
            r#"{"body":{"messages":"hi"}}"#,
            "expected `body.messages` to be a list, got a string",
        ),
        (
            r#"{"body":{"messages":[]},"method":"GET"}"#,
            "expected `method` to be `POST`, got `GET`",
        ),
        (
            r#"{"body":{"messages":[]},"url":"/v1/images/generations"}"#,
            "expected `url` to end in `/chat/completions`, `/completions`, `/responses` or `/embeddings`, got \
             `/v1/images/generations` (other endpoints are not supported)",
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            r#"expected `messages` inside a `body`, got them without one (wrap the request: `{"custom_id":"1","body":{"model":…,"messages":…}}`)"#,
        ),
        (
            r#"{"body":{"messages":[]},"tasks":["insight"]}"#,
            "expected no `tasks` beside `body`, got one (an OpenAI Batch line is one completion without a plan; remove the key)",
        ),
        (
            r#"{"body":{"messages":[]},"until":"insight"}"#,
            "expected no `until` beside `body`, got one (an OpenAI Batch line is one completion without a plan; remove the key)",
        ),
        (
            r#"{"body":{"messages":[]},"request_data":{}}"#,
            "expected either `request_data` or `body`, got both (remove one)",
        ),
        (
            r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}"#,
            "expected a `body` beside `url`, got none (an OpenAI Batch line carries its request there)",
        ),
        (
            r#"{"body":{"messages":[],"x":1e400}}"#,
            "in `body`: failed to read JSON: number out of range at column 24, near `0}`",
        ),
    ]);
}

#[test]
fn a_product_is_read_and_stored() {
    let product = json!({"name": "控油散粉", "points": ["控油"], "price": "89 元", "proof": ["检测报告"],
        "must_say": ["广告"], "must_not_say": ["永久"]});
    for line in [
        json!({"query": "q", "background": {"product": product}}),
        json!({"request_data": {"query": "q", "background": {"product": product}}}),
    ] {
        let brief = brief(&line.to_string());
        let stored = serde_json::to_value(&brief).unwrap();
        assert_eq!(stored["background"]["product"], product);
        assert_eq!(serde_json::from_value::<Brief>(stored).unwrap(), brief);
    }
    for empty in ["null", "{}", r#"{"name":" ","points":[]}"#] {
        let line = format!(r#"{{"query":"q","background":{{"product":{empty}}}}}"#);
        assert_eq!(brief(&line).background.product, None, "{empty}");
    }
}

#[test]
fn a_product_is_bounded() {
    let told = |product: Value| {
        let line = json!({"query": "q", "background": {"product": product}});
        bad(line.to_string()).message
    };
    let accepts = |product: Value| {
        accepted(&json!({"query": "q", "background": {"product": product}}).to_string());
    };
    let long = |chars: usize| "长".repeat(chars);
    accepts(
        json!({"name": long(200), "price": long(200), "points": vec![long(500); 20], "proof": vec![long(500); 20],
        "must_say": vec![long(60); 10], "must_not_say": vec!["别".repeat(60); 50]}),
    );
    let shown = long(60);
    let cure = "(shorten it, or move it into `interaction_context`)";
    for (product, expected) in [
        (
            json!({"name": long(201)}),
            format!("expected `background.product.name` to have at most 200 characters, got 201: `{shown}…` {cure}"),
        ),
        (
            json!({"proof": ["a", long(501)]}),
            format!("expected `background.product.proof[1]` to have at most 500 characters, got 501: `{shown}…` {cure}"),
        ),
        (
            json!({"must_say": vec!["a"; 11]}),
            "expected `background.product.must_say` to have at most 10 entries, got 11 (leave out the least important ones)"
                .to_owned(),
        ),
        (
            json!({"must_not_say": ["a", " "]}),
            "expected `background.product.must_not_say[1]` to have 1 to 60 characters, got an empty text (remove it)"
                .to_owned(),
        ),
        (
            json!({"must_say": ["ＶＩＰ 专享"], "must_not_say": ["x", "vip"]}),
            "expected `background.product.must_say[0]` without a word of `must_not_say`, got `ＶＩＰ 专享`, which holds `vip` (remove one of them)"
                .to_owned(),
        ),
    ] {
        assert_eq!(told(product.clone()), expected, "{product}");
    }
}
