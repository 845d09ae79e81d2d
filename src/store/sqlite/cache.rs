//! The cache in the file. One row holds the sum of all sizes and the number of the last use.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::fault::JobFault;
use crate::clock;
use crate::domain::request::Digest;
use crate::store::StoreError;
use crate::store::cache::{BATCH, Cache, Cached, NewEntry, found, millis, size};

#[async_trait]
impl Cache for SqliteStore {
    async fn cached(&self, key: &str) -> Result<Cached, StoreError> {
        let key = Digest::of(key.as_bytes());
        self.write(move |c| get(c, key, clock::now_ms())).await
    }

    async fn is_fresh(&self, key: &str) -> Result<bool, StoreError> {
        let key = Digest::of(key.as_bytes());
        self.read(move |c| is_fresh(c, key, clock::now_ms())).await
    }

    async fn put_cached(&self, entry: &NewEntry<'_>, most: u64) -> Result<(), StoreError> {
        let row = CacheRow {
            key: Digest::of(entry.key.as_bytes()),
            body: entry.body.to_owned(),
            bytes: i64::try_from(size(entry.body)).unwrap_or(i64::MAX),
            fresh_ms: millis(entry.fresh_for),
            stale_ms: millis(entry.stale_for),
        };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        loop {
            let row = row.clone();
            if self.write(move |c| put(c, &row, most, clock::now_ms())).await? {
                return Ok(());
            }
        }
    }

    /// One process holds the store, and it asks for a key once at a time.
    async fn lease_cached(&self, _key: &str, _owner: i64, _lease: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release_cached(&self, _key: &str, _owner: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn shrink_cache(&self, most: u64) -> Result<(), StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        while !self.write(move |c| make_room(c, &[], most)).await? {}
        Ok(())
    }
}

#[derive(Clone)]
struct CacheRow {
    key: Digest,
    body: String,
    bytes: i64,
    fresh_ms: i64,
    stale_ms: i64,
}

fn get(c: &Connection, key: Digest, now: i64) -> Result<Cached, JobFault> {
    let row: Option<(String, i64, bool)> = c
        .prepare_cached(
            "SELECT body, max(?2-stored_at, 0), fresh_until>?2 FROM nova3_cache WHERE cache_key=?1 AND stale_until>?2",
        )?
        .query_row(params![key.as_bytes(), now], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((body, age, fresh)) = row else {
        return Ok(Cached::Nothing);
    };
    let used = next_use(c)?;
    c.prepare_cached("UPDATE nova3_cache SET used=?2 WHERE cache_key=?1")?
        .execute(params![key.as_bytes(), used])?;
    Ok(found(body, age, fresh))
}

fn is_fresh(c: &Connection, key: Digest, now: i64) -> Result<bool, JobFault> {
    let mut query = c.prepare_cached("SELECT 1 FROM nova3_cache WHERE cache_key=?1 AND fresh_until>?2")?;
    Ok(query.exists(params![key.as_bytes(), now])?)
}

/// Puts the row if there is room for it, and makes some room otherwise. Returns whether it is finished.
fn put(c: &Connection, row: &CacheRow, most: i64, now: i64) -> Result<bool, JobFault> {
    let key = row.key.as_bytes();
    remove(c, key)?;
    if row.bytes > most {
        return Ok(true);
    }
    if !make_room(c, key, most - row.bytes)? {
        return Ok(false);
    }
    let used = next_use(c)?;
    c.prepare_cached(
        "INSERT INTO nova3_cache(cache_key, body, bytes, stored_at, fresh_until, stale_until, used)
         VALUES(?1,?2,?3,?4,?5,?6,?7)",
    )?
    .execute(params![
        key,
        row.body,
        row.bytes,
        now,
        now + row.fresh_ms,
        now + row.stale_ms,
        used
    ])?;
    add(c, row.bytes)?;
    Ok(true)
}

fn remove(c: &Connection, key: &[u8]) -> Result<(), JobFault> {
    let gone: Option<i64> = c
        .prepare_cached("DELETE FROM nova3_cache WHERE cache_key=?1 RETURNING bytes")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    gone.map_or(Ok(()), |bytes| add(c, -bytes))
}

/// Removes the least recently used entries except `besides`, at most a batch. Returns whether the entries have at most
/// `most` bytes now, or cannot become smaller.
fn make_room(c: &Connection, besides: &[u8], most: i64) -> Result<bool, JobFault> {
    let mut bytes: i64 = c
        .prepare_cached("SELECT bytes FROM nova3_cache_sum WHERE one=1")?
        .query_row([], |row| row.get(0))?;
    let mut oldest =
        c.prepare_cached("SELECT cache_key FROM nova3_cache WHERE cache_key<>?1 ORDER BY used LIMIT 1")?;
    for _ in 0..BATCH {
        if bytes <= most {
            return Ok(true);
        }
        let key: Option<Vec<u8>> = oldest.query_row([besides], |row| row.get(0)).optional()?;
        let Some(key) = key else { return Ok(true) };
        remove(c, &key)?;
        bytes = c
            .prepare_cached("SELECT bytes FROM nova3_cache_sum WHERE one=1")?
            .query_row([], |row| row.get(0))?;
    }
    Ok(bytes <= most)
}

fn next_use(c: &Connection) -> Result<i64, JobFault> {
    Ok(
        c.prepare_cached("UPDATE nova3_cache_sum SET uses=uses+1 WHERE one=1 RETURNING uses")?
            .query_row([], |row| row.get(0))?,
    )
}

fn add(c: &Connection, bytes: i64) -> Result<(), JobFault> {
    c.prepare_cached("UPDATE nova3_cache_sum SET bytes=bytes+?1 WHERE one=1")?
        .execute([bytes])?;
    Ok(())
}
