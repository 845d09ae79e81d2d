//! The verdicts of all oracles; an oracle reports even after another one has found a fault.

/// The verdicts of a scenario.
#[derive(Debug)]
pub(crate) struct Verdicts {
    scenario: &'static str,
    all: Vec<Verdict>,
}

/// The finding of one oracle.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) oracle: &'static str,
    pub(crate) seen: String,
    faults: Vec<String>,
}

/// How many faults of one oracle are printed.
const TOLD: usize = 5;

impl Verdicts {
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            all: Vec::new(),
        }
    }

    /// Adds one oracle's verdict: the part that it checked, and the faults in it.
    pub(crate) fn add(&mut self, oracle: &'static str, seen: String, faults: Vec<String>) {
        self.all.push(Verdict { oracle, seen, faults });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Verdict> {
        self.all.iter()
    }

    /// Prints every verdict; fails if one of them is bad.
    pub(crate) fn tell(&self) {
        for verdict in &self.all {
            let word = if verdict.faults.is_empty() { "good" } else { "BAD" };
            println!(
                "{}: {}: {word}: {}: {}",
                env!("CARGO_CRATE_NAME"),
                self.scenario,
                verdict.oracle,
                verdict.seen
            );
        }
        let bad: Vec<&Verdict> = self
            .all
            .iter()
            .filter(|verdict| !verdict.faults.is_empty())
            .collect();
        for verdict in &bad {
            for fault in verdict.faults.iter().take(TOLD) {
                println!("oracle `{}`: {fault}", verdict.oracle);
            }
            if verdict.faults.len() > TOLD {
                println!("    and {} more", verdict.faults.len() - TOLD);
            }
        }
        assert!(
            bad.is_empty(),
            "{}: {} oracles of {} found something",
            self.scenario,
            bad.len(),
            self.all.len()
        );
    }
}
