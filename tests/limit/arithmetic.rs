//! `limits.sql` counts as `domain/bucket.rs` does; the unit tests there prove its laws.

use std::time::Duration;

use nova3::domain::bucket::{Charge, Charges, Correction, KEPT};
use nova3::domain::pace::Pace;
use nova3::limit::Limits;

use crate::limit::harness::{Harness, Teller};

const LIMITS: Limits = Limits {
    rpm: Some(300),
    tpm: Some(20_000),
};

/// Takes a call, or returns how long it has to wait.
fn take(pace: &mut Pace, now: i64, tokens: u64) -> Result<Charges, Duration> {
    match pace.wait(now, tokens).expect("it is not too large") {
        Duration::ZERO => Ok(pace.take(now, tokens)),
        wait => Err(wait),
    }
}

/// Lets the provider name lower limits to both.
fn learn(harness: &Harness, pace: &mut Pace, now: i64, random: &mut fastrand::Rng) {
    let limits = Limits {
        rpm: Some(random.u32(6..600)),
        tpm: Some(random.u64(200..40_000)),
    };
    pace.learn(now, limits);
    let below = limits.below(LIMITS);
    for (name, limit) in [("rpm", below.rpm.map(u64::from)), ("tpm", below.tpm)] {
        if let Some(limit) = limit {
            harness.sql(&format!(
                "update nova3_limits set {name} = {limit}, {name}_until = {}
                 where {name}_until <= {now} or {limit} <= {name}",
                now + KEPT
            ));
        }
    }
}

pub(crate) async fn the_database_counts_as_the_process_does(harness: &Harness) {
    for seed in 0..6 {
        harness.sql("truncate nova3_limits, nova3_limits_seen");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut pace, mut teller) = (Pace::new(LIMITS, 0), Teller::new(harness, LIMITS));
        // The first statement creates the row.
        let _told = teller.take(&[], (0, 0)).await;
        let mut open: Vec<Charges> = Vec::new();
        for step in 0..400 {
            let longest = if step % 50 == 0 {
                70_000_000_000
            } else {
                1_000_000_000
            };
            teller.now += random.i64(0..longest);
            let largest = if random.u8(..) < 8 { LIMITS.tpm } else { Some(300) };
            let tokens = random.u64(0..largest.expect("a limit"));
            let mut by = Correction::default();
            while open.len() > random.usize(..9) {
                let charges = open.swap_remove(random.usize(..open.len()));
                by.tokens += charges.tokens.correction(random.u64(..400));
                by.requests -= if random.bool() { charges.request.ns() } else { 0 };
            }
            if step % 40 == 39 {
                learn(harness, &mut pace, teller.now, &mut random);
            }
            if by != Correction::default() {
                pace.correct(teller.now, by);
            }
            let taken = take(&mut pace, teller.now, tokens);
            let told = teller.take(&[tokens], (by.requests, by.tokens)).await;
            let place = format!("seed {seed}, step {step}: {tokens} tokens");
            match taken {
                Ok(charges) => {
                    let of = |amount, units: Option<u64>| Charge {
                        amount,
                        units: units.expect("a limit"),
                    };
                    assert_eq!((told.taken, told.wait), (1, 0), "{place}");
                    assert_eq!(charges.request, of(1, told.request_units), "{place}");
                    assert_eq!(charges.tokens, of(tokens, told.token_units), "{place}");
                    open.push(charges);
                }
                Err(wait) => {
                    assert_eq!(
                        (told.taken, i128::from(told.wait)),
                        (0, wait.as_nanos().cast_signed()),
                        "{place}"
                    );
                }
            }
        }
    }
}

pub(crate) async fn many_at_once_are_as_one_after_another(harness: &Harness) {
    let mut pace = Pace::new(LIMITS, 0);
    let mut teller = Teller::new(harness, LIMITS);
    assert_eq!(teller.take(&[50], (0, 0)).await.taken, 0);
    assert!(take(&mut pace, 0, 50).is_err());
    for second in 1..40 {
        teller.now = second * 1_000_000_000;
        let mut single = 0;
        while take(&mut pace, teller.now, 50).is_ok() {
            single += 1;
        }
        assert_eq!(teller.take(&[50; 20], (0, 0)).await.taken, single);
    }
}
