//! Tests the built-in providers: the format of their requests, and the reading of their answers.

use nova3::search::FailureKind;
use serde_json::{Value, json};

use super::harness::{Harness, attempts_of, query, setup};
use super::server::{Call, Reply, Server};

/// A built-in provider: the expected request, an answer in its format, and the expected item.
struct Preset {
    name: &'static str,
    variable: &'static str,
    line: &'static str,
    key: Option<(&'static str, &'static str)>,
    body: Option<Value>,
    answer: Value,
    found: Found,
    usd: f64,
}

const URL: &str = "https://example.com/1";

const DAY: Option<&str> = Some("2026-01-01");

const BEARER: Option<(&str, &str)> = Some(("authorization", "Bearer a-test-key"));

type Found = (
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
);

/// A page as most of them find it.
const PAGE: Found = ("燕麦", Some(URL), "about oats", DAY);

fn presets() -> Vec<Preset> {
    [chinese(), others()].into_iter().flatten().collect()
}

fn chinese() -> Vec<Preset> {
    vec![
        Preset {
            name: "jina",
            variable: "JINA_API_KEY",
            line: "GET /?num=5&q=oat%20milk",
            key: BEARER,
            body: None,
            answer: json!({"code": 200, "status": 20000, "meta": {"usage": {"tokens": 10_000}}, "data": [
                {"title": "燕麦", "url": URL, "description": "about oats", "content": "", "date": "2026-01-01"}]}),
            found: PAGE,
            usd: 0.0005,
        },
        Preset {
            name: "xhs",
            variable: "TIKHUB_API_KEY",
            line: "GET /api/v1/xiaohongshu/app_v2/search_notes?keyword=oat%20milk&note_type=%E4%B8%8D%E9%99%90&page=1\
                   &sort_type=general&time_filter=%E4%B8%8D%E9%99%90",
            key: BEARER,
            body: None,
            answer: json!({"code": 200, "message": "ok", "data": {"success": true, "data": {"items": [
                {"model_type": "ads"},
                {"note": {"id": "6650", "title": "燕麦", "desc": "about oats", "timestamp": 1_767_225_600}}]}}}),
            found: (
                "燕麦",
                Some("https://www.xiaohongshu.com/explore/6650"),
                "about oats",
                Some("2026-01-01T00:00:00Z"),
            ),
            usd: 0.01,
        },
        Preset {
            name: "dy",
            variable: "TIKHUB_API_KEY",
            line: "POST /api/v1/douyin/search/fetch_general_search_v1",
            key: BEARER,
            body: Some(
                json!({"keyword": "oat milk", "cursor": 0, "sort_type": "0", "publish_time": "0",
                "filter_duration": "0", "content_type": "0", "search_id": "", "backtrace": ""}),
            ),
            answer: json!({"code": 200, "data": {"data": [{"type": 4}, {"type": 1, "aweme_info": {
                "aweme_id": "73", "desc": "about oats", "create_time": 1_767_225_600}}]}}),
            found: (
                "about oats",
                Some("https://www.douyin.com/video/73"),
                "about oats",
                Some("2026-01-01T00:00:00Z"),
            ),
            usd: 0.001,
        },
        Preset {
            name: "bocha",
            variable: "BOCHA_API_KEY",
            line: "POST /v1/web-search",
            key: BEARER,
            body: Some(json!({"query": "oat milk", "summary": true, "freshness": "noLimit", "count": 5})),
            answer: json!({"code": 200, "data": {"webPages": {"value": [{"name": "燕麦", "url": URL, "snippet": "short",
                "summary": "about oats", "siteName": "s", "datePublished": "2026-01-01T08:00:00+08:00"}]}}}),
            found: ("燕麦", Some(URL), "about oats", Some("2026-01-01T00:00:00Z")),
            usd: 0.005,
        },
        Preset {
            name: "zhipu",
            variable: "ZHIPU_API_KEY",
            line: "POST /api/paas/v4/web_search",
            key: BEARER,
            body: Some(
                json!({"search_engine": "search_std", "search_query": "oat milk", "search_intent": false,
                "count": 5, "search_recency_filter": "noLimit", "content_size": "medium"}),
            ),
            answer: json!({"id": "1", "search_result": [{"title": "燕麦", "link": URL, "content": "about oats",
                "media": "m", "publish_date": "2026-01-01"}]}),
            found: PAGE,
            usd: 0.0015,
        },
    ]
}

fn others() -> Vec<Preset> {
    vec![
        Preset {
            name: "tavily",
            variable: "TAVILY_API_KEY",
            line: "POST /search",
            key: BEARER,
            body: Some(json!({"query": "oat milk", "max_results": 5, "search_depth": "basic"})),
            answer: json!({"query": "oat milk", "results": [{"title": "燕麦", "url": URL, "content": "about oats",
                "score": 0.9, "published_date": "2026-01-01"}]}),
            found: PAGE,
            usd: 0.008,
        },
        Preset {
            name: "exa",
            variable: "EXA_API_KEY",
            line: "POST /search",
            key: Some(("x-api-key", "a-test-key")),
            body: Some(json!({"query": "oat milk", "numResults": 5, "type": "auto",
                "contents": {"text": {"maxCharacters": 2000}}})),
            answer: json!({"results": [{"title": "燕麦", "url": URL, "text": "about oats",
                "publishedDate": "2026-01-01"}], "costDollars": {"total": 0.006}}),
            found: PAGE,
            usd: 0.006,
        },
        Preset {
            name: "brave",
            variable: "BRAVE_API_KEY",
            line: "GET /res/v1/web/search?count=5&q=oat%20milk&text_decorations=false",
            key: Some(("x-subscription-token", "a-test-key")),
            body: None,
            answer: json!({"type": "search", "web": {"results": [{"title": "燕麦", "url": URL,
                "description": "about <strong>oats</strong>", "page_age": "2026-01-01T00:00:00"}]}}),
            found: PAGE,
            usd: 0.005,
        },
        Preset {
            name: "searxng",
            variable: "NONE",
            line: "GET /search?format=json&q=oat%20milk",
            key: None,
            body: None,
            answer: json!({"results": [{"title": "燕麦", "url": URL, "content": "about oats",
                "publishedDate": "2026-01-01T00:00:00"}]}),
            found: PAGE,
            usd: 0.0,
        },
    ]
}

/// Returns a harness with the file of a preset whose host is replaced by the test server.
fn at(name: &str, variable: &str, server: &Server) -> Harness {
    let path = format!("{}/search/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let url = text.lines().find(|line| line.starts_with("url = ")).unwrap();
    let origin: Vec<&str> = url.split('"').nth(1).unwrap().splitn(4, '/').take(3).collect();
    let text = text.replacen(&origin.join("/"), &server.origin(), 1);
    setup(&[name])
        .file(&format!("{name}.toml"), &text)
        .env(variable, "a-test-key")
}

#[tokio::test]
async fn requests_and_answers_have_the_documented_format() {
    for preset in presets() {
        let server = Server::always(Reply::json(&preset.answer));
        let searcher = at(preset.name, preset.variable, &server).searcher();
        let outcome = searcher.search(&query("oat milk")).await.unwrap();
        let call = &server.calls()[0];
        assert_eq!(call.line(), preset.line, "{}", preset.name);
        check_body(&preset, call);
        if let Some((header, value)) = preset.key {
            assert_eq!(call.header(header), Some(value), "{}", preset.name);
        }
        assert_eq!(
            call.head.matches("a-test-key").count(),
            usize::from(preset.key.is_some())
        );
        let item = &outcome.items[0];
        let found = (
            item.title.as_str(),
            item.url.as_deref(),
            item.text.as_str(),
            item.published_at.as_deref(),
        );
        assert_eq!(found, preset.found, "{}", preset.name);
        assert_eq!((outcome.items.len(), outcome.degraded), (1, false));
        assert!(
            (outcome.cost.usd() - preset.usd).abs() < 1e-9,
            "{}: {}",
            preset.name,
            outcome.cost.usd()
        );
    }
}

fn check_body(preset: &Preset, call: &Call) {
    let sent: Option<Value> = serde_json::from_str(&call.body).ok();
    assert_eq!(sent, preset.body, "{}", preset.name);
    let is_json = call.header("content-type") == Some("application/json");
    assert_eq!(is_json, preset.body.is_some(), "{}", preset.name);
}

/// Refused keys, empty accounts, rate limits and empty results have different kinds.
const BAD_ANSWERS: [(&str, &str, u16, &str, FailureKind); 18] = [
    (
        "jina",
        "JINA_API_KEY",
        402,
        r#"{"code": 402, "status": 40203, "name": "InsufficientBalanceError"}"#,
        FailureKind::Terminal,
    ),
    (
        "jina",
        "JINA_API_KEY",
        422,
        r#"{"code": 422, "status": 42206, "name": "AssertionFailureError"}"#,
        FailureKind::Empty,
    ),
    (
        "jina",
        "JINA_API_KEY",
        503,
        r#"{"code": 503, "status": 50301}"#,
        FailureKind::Server,
    ),
    (
        "xhs",
        "TIKHUB_API_KEY",
        200,
        r#"{"code": 200, "data": {"success": false, "msg": "no"}}"#,
        FailureKind::Refused,
    ),
    (
        "xhs",
        "TIKHUB_API_KEY",
        402,
        r#"{"detail": {"code": 402, "message": "no balance"}}"#,
        FailureKind::Terminal,
    ),
    (
        "dy",
        "TIKHUB_API_KEY",
        200,
        r#"{"code": 200, "data": {"data": []}}"#,
        FailureKind::Empty,
    ),
    (
        "bocha",
        "BOCHA_API_KEY",
        403,
        r#"{"code": "403", "message": "You do not have enough money"}"#,
        FailureKind::Terminal,
    ),
    (
        "bocha",
        "BOCHA_API_KEY",
        200,
        r#"{"code": 429}"#,
        FailureKind::Limited,
    ),
    (
        "zhipu",
        "ZHIPU_API_KEY",
        429,
        r#"{"error": {"code": "1113", "message": "余额不足"}}"#,
        FailureKind::Terminal,
    ),
    (
        "zhipu",
        "ZHIPU_API_KEY",
        429,
        r#"{"error": {"code": "1302", "message": "并发过高"}}"#,
        FailureKind::Limited,
    ),
    (
        "tavily",
        "TAVILY_API_KEY",
        432,
        r#"{"detail": {"error": "plan limit"}}"#,
        FailureKind::Terminal,
    ),
    (
        "tavily",
        "TAVILY_API_KEY",
        433,
        r#"{"detail": {"error": "paygo limit"}}"#,
        FailureKind::Terminal,
    ),
    (
        "tavily",
        "TAVILY_API_KEY",
        200,
        r#"{"results": []}"#,
        FailureKind::Empty,
    ),
    (
        "exa",
        "EXA_API_KEY",
        402,
        r#"{"error": "no credits", "tag": "NO_MORE_CREDITS"}"#,
        FailureKind::Terminal,
    ),
    (
        "brave",
        "BRAVE_API_KEY",
        200,
        r#"{"type": "search"}"#,
        FailureKind::Empty,
    ),
    (
        "brave",
        "BRAVE_API_KEY",
        422,
        r#"{"error": {"code": "SUBSCRIPTION_TOKEN_INVALID"}}"#,
        FailureKind::Terminal,
    ),
    ("searxng", "NONE", 403, "{}", FailureKind::Terminal),
    ("searxng", "NONE", 200, r#"{"results": []}"#, FailureKind::Empty),
];

#[tokio::test]
async fn failures_of_presets_have_the_right_kind() {
    for (name, variable, status, body, kind) in BAD_ANSWERS {
        let body: Value = serde_json::from_str(body).unwrap();
        let server = Server::always(Reply::status(status, &body));
        let searcher = at(name, variable, &server).search("retries = 0").searcher();
        let chain = [name, "default"].map(str::to_owned);
        let outcome = searcher.search_in(&query("oat milk"), &chain).await.unwrap();
        assert_eq!(attempts_of(&outcome)[0], (name, 1, Some(kind)), "{body}");
    }
}

#[tokio::test]
async fn a_long_query_is_cut_to_the_limit_of_the_provider() {
    let server = Server::always(Reply::json(&json!({"search_result": [{"content": "x"}]})));
    let searcher = at("zhipu", "ZHIPU_API_KEY", &server).searcher();
    searcher.search(&query(&"燕".repeat(300))).await.unwrap();
    let body: Value = serde_json::from_str(&server.calls()[0].body).unwrap();
    assert_eq!(body["search_query"].as_str().unwrap().chars().count(), 70);
}

#[tokio::test]
async fn an_invalid_cost_is_replaced_by_the_flat_cost() {
    for total in [json!(1e9), json!(-1), json!("NaN"), json!("much"), json!(null)] {
        let answer = json!({"results": [{"title": "x"}], "costDollars": {"total": total}});
        let server = Server::always(Reply::json(&answer));
        let outcome = at("exa", "EXA_API_KEY", &server)
            .searcher()
            .search(&query("x"))
            .await
            .unwrap();
        assert_eq!(outcome.cost.usd().to_string(), "0.007", "{total}");
    }
}

#[test]
fn every_preset_is_tested_here_and_loads_without_a_key() {
    let (providers, settings) = setup(&["jina", "xhs", "dy", "cached", "default"]).load().unwrap();
    assert_eq!(settings.providers, ["jina", "xhs", "dy", "cached", "default"]);
    let mut tried: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
    tried.push("generic");
    // Readers are tested in `pages`.
    let names: Vec<&str> = providers
        .all()
        .iter()
        .filter(|provider| !provider.is_reader)
        .map(|provider| provider.name.as_str())
        .collect();
    assert_eq!(names, tried);
    for provider in providers.all() {
        let is_named = provider
            .missing_key()
            .is_none_or(|cure| cure.starts_with("set the variable `"));
        assert!(is_named, "{}", provider.name);
    }
}
