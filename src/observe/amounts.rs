//! Durations, amounts and shares as text for people.

use std::time::Duration;

use crate::domain::usage::Cost;

/// A duration.
pub(super) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A duration in few characters: whole seconds from ten on.
pub(super) fn short_time(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        whole @ 10..60 => format!("{whole} s"),
        _ => seconds(duration),
    }
}

/// A large number in few characters.
pub(super) fn thousands(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{}k", n / 1000),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// A number with a comma between groups of three digits.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Money in dollars.
pub(super) fn money(cost: Cost) -> String {
    format!("${:.4}", cost.usd())
}

/// A part of a whole in percent, rounded down, so that only all is 100 %.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let share = u128::from(part.min(whole)) * 100 / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let long = Duration::from_secs(3 * 3600 + 125);
        assert_eq!([seconds(long), short_time(long)], ["3 h 2 min", "3 h 2 min"]);
        assert_eq!(short_time(Duration::from_millis(41_700)), "41 s");
        assert_eq!([9_999, 81_300, 2_140_000].map(thousands), ["9999", "81k", "2.1M"]);
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [(0, 0), (999, 1_000), (5, 5)].map(|(part, whole)| percent(part, whole)),
            [0, 99, 100]
        );
    }
}
