//! The cache: an entry is found until it expires, and all entries together stay below their bound.

use std::time::Duration;

use nova3::store::{Cached, NewEntry};

use crate::store::harness::Harness;

const HOUR: Duration = Duration::from_hours(1);
const ROOM: u64 = 1 << 30;

fn entry<'a>(key: &'a str, body: &'a str) -> NewEntry<'a> {
    NewEntry {
        key,
        body,
        fresh_for: HOUR,
        stale_for: 2 * HOUR,
    }
}

async fn put(harness: &Harness, entry: &NewEntry<'_>, most: u64) {
    harness.store().put_cached(entry, most).await.expect("puts");
}

async fn get(harness: &Harness, key: &str) -> Cached {
    harness.store().cached(key).await.expect("reads")
}

/// Returns the body under the key, if it is fresh.
async fn fresh(harness: &Harness, key: &str) -> Option<String> {
    match get(harness, key).await {
        Cached::Fresh(entry) => Some(entry.body),
        Cached::Stale(_) | Cached::Nothing => None,
    }
}

/// Returns the keys that are found.
async fn kept(harness: &Harness, keys: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    for key in keys {
        if fresh(harness, key).await.is_some() {
            kept.push(key.clone());
        }
    }
    kept
}

pub(crate) async fn what_is_put_is_found_also_after_a_crash(harness: &mut Harness) {
    let long = "k".repeat(9000);
    assert_eq!(get(harness, "a").await, Cached::Nothing);
    put(harness, &entry("a", "first"), ROOM).await;
    put(harness, &entry("a", "second"), ROOM).await;
    put(harness, &entry(&long, "zero\0and 好"), ROOM).await;
    let crashed = harness.crash().await;
    assert_eq!(fresh(harness, "a").await.as_deref(), Some("second"), "{crashed}");
    assert_eq!(fresh(harness, &long).await.as_deref(), Some("zero\0and 好"));
    let Cached::Fresh(found) = get(harness, "a").await else {
        panic!("it is fresh");
    };
    assert!(found.age < HOUR, "{:?}", found.age);
    assert_eq!(get(harness, "b").await, Cached::Nothing);
}

pub(crate) async fn what_is_stale_is_told_as_stale(harness: &mut Harness) {
    let stale = NewEntry {
        fresh_for: Duration::ZERO,
        ..entry("a", "x")
    };
    put(harness, &stale, ROOM).await;
    let Cached::Stale(found) = get(harness, "a").await else {
        panic!("it is stale");
    };
    assert_eq!(found.body, "x");
    let past = NewEntry {
        fresh_for: Duration::ZERO,
        stale_for: Duration::ZERO,
        ..entry("b", "x")
    };
    put(harness, &past, ROOM).await;
    assert_eq!(get(harness, "b").await, Cached::Nothing, "it is past its time");
    let for_ever = NewEntry {
        fresh_for: Duration::MAX,
        stale_for: Duration::MAX,
        ..entry("c", "x")
    };
    put(harness, &for_ever, ROOM).await;
    assert_eq!(fresh(harness, "c").await.as_deref(), Some("x"));
}

pub(crate) async fn what_was_used_longest_ago_makes_room(harness: &mut Harness) {
    let body = "x".repeat(1000);
    let keys: Vec<String> = (0..4).map(|n| format!("k{n}")).collect();
    // There is room for four entries, but not for five.
    let most = 5000;
    for key in &keys {
        put(harness, &entry(key, &body), most).await;
    }
    assert_eq!(kept(harness, &keys).await, keys);
    fresh(harness, "k0").await;
    put(harness, &entry("new", &body), most).await;
    assert_eq!(
        kept(harness, &keys).await,
        ["k0", "k2", "k3"],
        "k1 was used longest ago"
    );
    put(harness, &entry("k2", "small"), most).await;
    put(harness, &entry("large", &"x".repeat(5000)), most).await;
    assert_eq!(
        get(harness, "large").await,
        Cached::Nothing,
        "there is no room for it"
    );
    assert_eq!(kept(harness, &keys).await, ["k0", "k2", "k3"]);
    put(harness, &entry("k3", &"x".repeat(5000)), most).await;
    assert_eq!(
        kept(harness, &keys).await,
        ["k0", "k2"],
        "what it replaces is gone"
    );
}

pub(crate) async fn asking_for_freshness_is_no_use(harness: &mut Harness) {
    let is_fresh = async |key: &str| harness.store().is_fresh(key).await.expect("reads");
    let body = "x".repeat(1000);
    let most = 2500;
    put(harness, &entry("a", &body), most).await;
    put(harness, &entry("b", &body), most).await;
    assert_eq!([is_fresh("a").await, is_fresh("c").await], [true, false]);
    // `a` is still the entry that was used longest ago.
    put(harness, &entry("c", &body), most).await;
    assert_eq!(
        [is_fresh("a").await, is_fresh("b").await, is_fresh("c").await],
        [false, true, true]
    );
    let stale = NewEntry {
        fresh_for: Duration::ZERO,
        ..entry("d", "x")
    };
    put(harness, &stale, ROOM).await;
    assert!(!is_fresh("d").await);
}

pub(crate) async fn a_lower_bound_is_reached_in_batches(harness: &mut Harness) {
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    for key in &keys {
        put(harness, &entry(key, &"x".repeat(872)), ROOM).await;
    }
    harness.store().shrink_cache(10_000).await.expect("shrinks");
    assert_eq!(kept(harness, &keys).await, keys[90..]);
    put(harness, &entry("whole", &"x".repeat(9_872)), 10_000).await;
    assert_eq!(kept(harness, &keys).await, Vec::<String>::new());
    assert!(fresh(harness, "whole").await.is_some());
    harness.store().shrink_cache(0).await.expect("shrinks");
    assert_eq!(get(harness, "whole").await, Cached::Nothing);
}
