//! Numbers from the environment for a test, and its random choices.

/// Returns a number of the environment, or the default.
#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
pub(crate) fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is `{text}`: expected a number")),
        Err(_) => default,
    }
}

/// Returns the random choices of one scenario.
pub(crate) fn rng(seed: u64, scenario: &str) -> fastrand::Rng {
    let mix = scenario.bytes().fold(seed, |mix, byte| {
        mix.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    fastrand::Rng::with_seed(mix)
}
