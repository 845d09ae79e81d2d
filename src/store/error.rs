//! What can go wrong with a store, in words that name the file and the cure.

use std::path::PathBuf;

/// A store that could not do what it was asked. Nothing of it happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process works on the store.
    #[error("store `{}` is in use by {holder} (wait with `--wait-lock 30s`, or use another `--store`)", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The file is not a store of nova3.
    #[error("`{}` is not a nova3 store: {reason} (give another `--store`)", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A file that would be in the way of the store, and is not the store's.
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
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store was taken away while it was worked on.
    #[error(
        "store `{}`: {reason} (nothing more is stored; put it back with the files beside it, or name it where it is now, \
         and run the same command again)",
        path.display()
    )]
    Displaced {
        /// The store.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The store was written by a later version.
    #[error(
        "store `{}` has schema version {found}, this nova3 knows up to {known} (use the newer nova3, or another `--store`)",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest known here.
        known: i64,
    },
    /// The store was written by an earlier version.
    #[error(
        "store `{}` has schema version {found}, this nova3 writes {known} (finish it with the earlier nova3, or give another `--store`)",
        path.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version known here.
        known: i64,
    },
    /// The run's name belongs to another input.
    #[error(
        "run `{run}` in this store was made from `{theirs}`, not from `{ours}` (if the file was moved, go on with \
         `--run '{run}'`; if it is another one, begin anew with a name of its own, as in `--run '{run}-2'`)"
    )]
    OtherInput {
        /// The run.
        run: String,
        /// The input it remembers.
        theirs: String,
        /// The input that was given.
        ours: String,
    },
    /// A rehearsal in the store of real runs, or the other way round.
    #[error("store `{}` holds {theirs}, not {ours} (give this one its own `--store`)", path.display())]
    Rehearsal {
        /// The store.
        path: PathBuf,
        /// What it holds.
        theirs: &'static str,
        /// What was to be added.
        ours: &'static str,
    },
    /// Others work on the run under other terms.
    #[error(
        "run `{run}` is being worked on under other terms: {} (use the same settings, wait until its workers have left, or \
         work on its terms with `--accept-drift`)",
        differences.join("; ")
    )]
    Drift {
        /// The run.
        run: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// A request changed in a run that must not change.
    #[error(
        "line {line}: request `{id}` is not what run `{run}` holds under that name (run without `--frozen` to replace it)"
    )]
    Frozen {
        /// The run.
        run: String,
        /// The request.
        id: String,
        /// Its line.
        line: u64,
    },
    /// The operating system failed: full disk, read-only file system, input or output error.
    #[error("store `{}`: {action} failed: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
    /// The database cancelled a statement at its time limit, also after it was made smaller or given more time.
    #[error(
        "store `{}`: {reason} (the database is too slow, or something holds a lock: `pg_stat_activity` shows it; run the \
         same command again to go on)",
        path.display()
    )]
    Slow {
        /// The database.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The store refuses a value of one request, or cannot read one of its rows. All others are as they should be.
    #[error("store `{}` refuses a row: {reason}", path.display())]
    Row {
        /// The store.
        path: PathBuf,
        /// What was refused or found.
        reason: String,
    },
    /// The store holds what it must not, or a query of ours is wrong.
    #[error("store `{}` is inconsistent: {reason}", path.display())]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A database lost what it had confirmed: a failover to a standby that was behind, or an older copy in its place.
    #[error(
        "the store went back in time: {reason} (after a failover, or when an older copy took its place, run the same command \
         again)"
    )]
    WentBack {
        /// What shows it.
        reason: String,
    },
    /// The store was closed while it was asked.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether it concerns one request, and leaves all others as they are.
    pub const fn is_of_one_row(&self) -> bool {
        matches!(self, Self::Row { .. })
    }
}
