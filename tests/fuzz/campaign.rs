//! One run of a target: the corpus as it stands, then mutations of it until the budget is used.
//!
//! `check` returns numbers that stand for the kinds of its results. An input with a new number joins the pool that is
//! mutated, so mutations reach rare branches without instrumented code.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a campaign fails and reports the way a test does"
)]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use super::input::digest;
use super::mutation::Mutator;

/// The budget of a run in `scripts/test`, in seconds.
const SECONDS: u64 = 10;

/// The most time for shortening a failing input.
const SHORTENING: Duration = Duration::from_secs(5);

/// A target.
pub(crate) struct Campaign {
    /// Its name, which is that of its folder in the corpus and of its dictionary.
    pub(crate) target: &'static str,
    /// Files of these folders are inputs too.
    pub(crate) seeds: &'static [&'static str],
    /// Panics if the input breaks a property; returns a number for the kind of each result.
    pub(crate) check: fn(&[u8]) -> Vec<u64>,
}

impl Campaign {
    pub(crate) fn run(&self) {
        let budget = Duration::from_secs(number("NOVA3_FUZZ_SECONDS").unwrap_or(SECONDS));
        let seed = number("NOVA3_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
        let dictionary = here.join(format!("dictionaries/{}.dict", self.target));
        let dictionary = std::fs::read_to_string(dictionary).expect("a dictionary");
        let mut pool = Vec::new();
        let mut kinds = HashSet::new();
        for file in self.files(&here) {
            let input = std::fs::read(&file).expect("a readable input");
            match self.attempt(&input) {
                Ok(found) => kinds.extend(found),
                Err(reason) => panic!("{} fails on {}:\n{reason}", self.target, file.display()),
            }
            pool.push(input);
        }
        assert!(!pool.is_empty(), "{} has no corpus", self.target);

        let mut mutator = Mutator::new(seed, &dictionary);
        let started = Instant::now();
        let (mut count, mut slowest) = (0_u64, Duration::ZERO);
        while started.elapsed() < budget {
            let input = mutator.input(&pool);
            let begun = Instant::now();
            let result = self.attempt(&input);
            let took = begun.elapsed();
            count += 1;
            if took > slowest {
                slowest = took;
                keep(&input, &format!("{}-slowest", self.target));
            }
            match result {
                Ok(found) => {
                    let known = kinds.len();
                    kinds.extend(found);
                    if kinds.len() > known {
                        pool.push(input);
                    }
                }
                Err(reason) => self.fail(&input, &reason, seed),
            }
        }
        println!(
            "{}: {count} executions in {:?}, {} kinds of results, slowest {slowest:?}",
            self.target,
            started.elapsed(),
            kinds.len(),
        );
    }

    /// Returns the files of the corpus and of the seeds, in a fixed order.
    fn files(&self, here: &Path) -> Vec<PathBuf> {
        let corpus = here.join("corpus").join(self.target);
        let seeds = self
            .seeds
            .iter()
            .map(|seed| Path::new(env!("CARGO_MANIFEST_DIR")).join(seed));
        let mut files: Vec<PathBuf> = std::iter::once(corpus)
            .chain(seeds)
            .flat_map(|folder| std::fs::read_dir(folder).expect("a folder of inputs"))
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files
    }

    /// Returns the kinds of results, or why the input breaks a property.
    fn attempt(&self, input: &[u8]) -> Result<Vec<u64>, String> {
        quietly(|| (self.check)(input))
    }

    fn fail(&self, input: &[u8], reason: &str, seed: u64) -> ! {
        let (input, reason) = self.shortened(input, reason);
        let file = keep(&input, &format!("{}-{:016x}", self.target, digest(&input[..])));
        panic!(
            "{} fails (NOVA3_FUZZ_SEED={seed}) on {}, {} bytes: {:?}\n{reason}",
            self.target,
            file.display(),
            input.len(),
            String::from_utf8_lossy(&input[..input.len().min(400)]),
        );
    }

    /// Leaves out one part after the other, ever smaller ones, while the rest still fails.
    fn shortened(&self, input: &[u8], reason: &str) -> (Vec<u8>, String) {
        let (mut input, mut reason) = (input.to_vec(), reason.to_owned());
        let started = Instant::now();
        let mut size = input.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < input.len() && started.elapsed() < SHORTENING {
                let mut shorter = input.clone();
                shorter.drain(at..(at + size).min(input.len()));
                match self.attempt(&shorter) {
                    Err(again) => (input, reason) = (shorter, again),
                    Ok(_) => at += size,
                }
            }
            size /= 2;
        }
        (input, reason)
    }
}

/// Writes a failing input to a file for a person.
fn keep(input: &[u8], name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&folder).expect("a folder for inputs");
    let file = folder.join(name);
    std::fs::write(&file, input).expect("a place for the input");
    file
}

#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is `{text}`: expected a number")),
    )
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `check` and returns its panic message instead of printing it: shortening runs it thousands of times.
fn quietly<T>(check: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_QUIET.get() {
                PANIC.set(panic.to_string());
            } else {
                usual(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(check));
    IS_QUIET.set(false);
    result.map_err(|_| PANIC.take())
}
