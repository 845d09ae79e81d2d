//! The errors of a store. Each message names the file and the cure.

use std::path::PathBuf;

/// A method of a store failed and changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process works on the store.
    #[error("store `{}` is in use by {holder} (wait with `--wait-lock 30s`, or use another `--store`)", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
        /// The process that holds it.
        holder: String,
    },
    /// The file is not a store of nova3.
    #[error("`{}` is not a nova3 store: {reason} (give another `--store`)", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// Why it is not one.
        reason: String,
    },
    /// A file in the way of the store that does not belong to the store.
    #[error(
        "store `{}` cannot be used: `{}` {reason} (move that file away, or give another `--store`)",
        path.display(),
        file.display()
    )]
    ForeignFile {
        /// The store.
        path: PathBuf,
        /// The file.
        file: PathBuf,
        /// Why it is in the way.
        reason: &'static str,
    },
    /// The store was moved or removed while it was in use.
    #[error(
        "store `{}`: {reason} (nothing more is stored; put it back with the files beside it, or give its new path with \
         `--store`, and run the same command again)",
        path.display()
    )]
    Displaced {
        /// The store.
        path: PathBuf,
        /// The change that was noticed.
        reason: String,
    },
    /// The store was written by a later version.
    #[error(
        "store `{}` has schema version {found}, but this nova3 knows only versions up to {known} (use the newer nova3, or another `--store`)",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The store was written by an earlier version.
    #[error(
        "store `{}` has schema version {found}, but this nova3 writes version {known} (finish it with the earlier nova3, or give another `--store`)",
        path.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The version that this program knows.
        known: i64,
    },
    /// The run of that name was made from another input.
    #[error(
        "run `{run}` in this store was made from `{theirs}`, not from `{ours}` (if the file was moved, go on with \
         `--run '{run}'`; if it is another file, start a new run under another name, such as `--run '{run}-2'`)"
    )]
    OtherInput {
        /// The run.
        run: String,
        /// The input stored for the run.
        theirs: String,
        /// The input that was given.
        ours: String,
    },
    /// A rehearsal was opened in a store of real runs, or a real run in a store of rehearsals.
    #[error("store `{}` holds {theirs}, not {ours} (give this run its own `--store`)", path.display())]
    Rehearsal {
        /// The store.
        path: PathBuf,
        /// The kind of run that it holds.
        theirs: &'static str,
        /// The kind of run that was to be added.
        ours: &'static str,
    },
    /// Other workers work on the run under different terms.
    #[error(
        "run `{run}` has other settings than this process: {} (use the same settings, wait until its workers have left, or \
         join under the stored limits and cap with `--accept-drift`)",
        differences.join("; ")
    )]
    ConfigMismatch {
        /// The run.
        run: String,
        /// The terms that differ.
        differences: Vec<String>,
    },
    /// A request changed while changes are refused (`--frozen`).
    #[error(
        "line {line}: request `{id}` differs from the request of that name in run `{run}` (run without `--frozen` to replace it)"
    )]
    Frozen {
        /// The run.
        run: String,
        /// The `custom_id` of the request.
        id: String,
        /// Its line.
        line: u64,
    },
    /// The operating system failed: full disk, read-only file system, input or output error.
    #[error("store `{}`: {action} failed: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The operating system's error.
        reason: String,
    },
    /// The database cancelled a statement at its time limit, even after the statement was made smaller or got more
    /// time.
    #[error(
        "store `{}`: {reason} (the database is too slow, or something holds a lock: `pg_stat_activity` shows it; run the \
         same command again to go on)",
        path.display()
    )]
    Slow {
        /// The database.
        path: PathBuf,
        /// The database's error.
        reason: String,
    },
    /// The store refuses a value of one request or cannot read one of its rows. All other requests are unaffected.
    #[error("store `{}` refuses a row: {reason}", path.display())]
    Row {
        /// The store.
        path: PathBuf,
        /// The value that was refused or found.
        reason: String,
    },
    /// The store holds rows that contradict each other, or a query of this program is wrong.
    #[error("store `{}` is inconsistent: {reason}", path.display())]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// The contradiction that was found.
        reason: String,
    },
    /// A database lost confirmed writes: a failover chose a standby that lagged behind, or an older copy replaced the
    /// database.
    #[error(
        "the store went back in time: {reason} (after a failover, or when an older copy took its place, run the same command \
         again)"
    )]
    WentBack {
        /// How the loss was noticed.
        reason: String,
    },
    /// The store was closed before the call finished.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the error concerns one request only.
    pub const fn is_of_one_row(&self) -> bool {
        matches!(self, Self::Row { .. })
    }
}
