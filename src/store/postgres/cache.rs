//! The cache in the database, shared by all processes of the store.

use std::time::Duration;

use async_trait::async_trait;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::domain::request::Digest;
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::StoreError;
use crate::store::cache::{BATCH, Cache, Cached, NewEntry, found, millis, size};

#[async_trait]
impl Cache for PostgresStore {
    async fn cached(&self, key: &str) -> Result<Cached, StoreError> {
        let key = Digest::of(key.as_bytes());
        job!(self, |c| get(c, key))
    }

    async fn is_fresh(&self, key: &str) -> Result<bool, StoreError> {
        let key = Digest::of(key.as_bytes());
        job!(self, |c| is_fresh(c, key))
    }

    async fn put_cached(&self, entry: &NewEntry<'_>, most: u64) -> Result<(), StoreError> {
        let key = Digest::of(entry.key.as_bytes());
        let body = &text(entry.body);
        // Each try removes one batch of entries.
        while !job!(self, |c| put(c, key, body, entry, most))? {}
        Ok(())
    }

    async fn lease_cached(&self, key: &str, owner: i64, lease: Duration) -> Result<bool, StoreError> {
        let (key, lease) = (Digest::of(key.as_bytes()), millis(lease));
        job!(self, |c| take_lease(c, key, owner, lease))
    }

    async fn release_cached(&self, key: &str, owner: i64) -> Result<(), StoreError> {
        let key = Digest::of(key.as_bytes());
        job!(self, |c| release(c, key, owner))
    }

    async fn shrink_cache(&self, most: u64) -> Result<(), StoreError> {
        while !job!(self, |c| make_room(c, most))? {}
        Ok(())
    }
}

async fn get(c: &mut Connection, key: Digest) -> Result<Cached, JobFault> {
    let row = c
        .optional(
            "SELECT body, age, fresh FROM nova3_cache_get($1)",
            &[key.as_bytes().to_vec().sent()],
        )
        .await?;
    Ok(row.map_or(Cached::Nothing, |row| {
        found(row.get::<_, PgText>(0).0, row.get(1), row.get(2))
    }))
}

async fn is_fresh(c: &mut Connection, key: Digest) -> Result<bool, JobFault> {
    let row = c
        .optional(
            "SELECT 1 FROM nova3_cache WHERE cache_key = $1 AND fresh_until > nova3_now()",
            &[key.as_bytes().to_vec().sent()],
        )
        .await?;
    Ok(row.is_some())
}

async fn put(
    c: &mut Connection,
    key: Digest,
    body: &str,
    entry: &NewEntry<'_>,
    most: u64,
) -> Result<bool, JobFault> {
    let row = c
        .row(
            "SELECT nova3_cache_put($1, $2, $3, $4, $5, $6, $7)",
            &[
                key.as_bytes().to_vec().sent(),
                body.sent(),
                int(size(entry.body)).sent(),
                millis(entry.fresh_for).sent(),
                millis(entry.stale_for).sent(),
                int(most).sent(),
                i64::from(BATCH).sent(),
            ],
        )
        .await?;
    Ok(row.get(0))
}

async fn make_room(c: &mut Connection, most: u64) -> Result<bool, JobFault> {
    let row = c
        .row(
            "SELECT nova3_cache_make_room(NULL, $1, $2)",
            &[int(most).sent(), i64::from(BATCH).sent()],
        )
        .await?;
    Ok(row.get(0))
}

async fn take_lease(c: &mut Connection, key: Digest, owner: i64, lease_ms: i64) -> Result<bool, JobFault> {
    let row = c
        .row(
            "SELECT nova3_cache_lease($1, $2, $3)",
            &[key.as_bytes().to_vec().sent(), owner.sent(), lease_ms.sent()],
        )
        .await?;
    Ok(row.get(0))
}

async fn release(c: &mut Connection, key: Digest, owner: i64) -> Result<(), JobFault> {
    c.execute(
        "DELETE FROM nova3_cache_leases WHERE cache_key = $1 AND owner = $2",
        &[key.as_bytes().to_vec().sent(), owner.sent()],
    )
    .await?;
    Ok(())
}
