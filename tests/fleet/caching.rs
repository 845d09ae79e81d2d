//! One cache, shared by all processes of a store.

use std::time::Duration;

use futures::future::join_all;
use nova3::store::{Cached, NewEntry};

use crate::fleet::harness::{Sql, workers};
use crate::store::harness::Harness;

#[tokio::test]
async fn processes_that_fill_one_cache_keep_it_below_its_bound() {
    let (url, [a, b]) = workers::<2>().await;
    let most = 20_000;
    let body = "x".repeat(872);
    let put = async |number: usize| {
        let key = format!("k{}", number % 60);
        let entry = NewEntry {
            key: &key,
            body: &body,
            fresh_for: Duration::from_hours(1),
            stale_for: Duration::from_hours(1),
        };
        let harness = if number.is_multiple_of(2) { &a } else { &b };
        harness.store().put_cached(&entry, most).await.expect("puts");
        harness.store().cached(&key).await.expect("reads");
    };
    for round in 0..10 {
        join_all((0..12).map(|each| put(round * 12 + each))).await;
        let mut sql = Sql::at(&url).await;
        let bytes = sql
            .number("SELECT coalesce(sum(bytes), 0)::bigint FROM nova3_cache")
            .await;
        let known = sql.number("SELECT bytes FROM nova3_cache_sum").await;
        assert!(bytes == known && bytes <= 20_000, "{bytes} bytes, {known} known");
    }
    put(500).await;
    assert!(matches!(
        b.store().cached("k20").await.expect("reads"),
        Cached::Fresh(_)
    ));
}

#[tokio::test]
async fn one_process_has_the_lease_of_a_key() {
    let (url, [a, b]) = workers::<2>().await;
    let long = Duration::from_hours(1);
    let lease = async |harness: &Harness, owner, key, lease| {
        let leased = harness.store().lease_cached(key, owner, lease).await;
        leased.expect("leases")
    };
    assert!(lease(&a, 1, "k", long).await);
    assert!(!lease(&b, 2, "k", long).await, "another process has it");
    assert!(lease(&b, 2, "other", long).await);
    assert!(lease(&a, 1, "k", long).await, "its owner renews it");
    b.store().release_cached("k", 2).await.expect("releases");
    assert!(!lease(&b, 2, "k", long).await, "only its owner releases it");
    a.store().release_cached("k", 1).await.expect("releases");
    assert!(lease(&b, 2, "k", Duration::ZERO).await);
    assert!(
        lease(&a, 1, "k", long).await,
        "the lease of the other process has expired"
    );
    // Rows that crashed owners left behind are deleted.
    let mut sql = Sql::at(&url).await;
    sql.run("UPDATE nova3_cache_leases SET lease_until = 0").await;
    assert!(lease(&a, 1, "new", long).await);
    assert_eq!(sql.number("SELECT count(*) FROM nova3_cache_leases").await, 1);
}
