//! Sums of money as text.

use crate::domain::usage::CostSum;

/// Picodollars of a dollar.
const DOLLAR: u128 = 1_000_000_000_000;

/// Returns the exact amount in dollars as a decimal number without needless zeros: `1.25`, `0`.
pub(super) fn decimal(sum: CostSum) -> String {
    let (whole, rest) = (sum.0 / DOLLAR, sum.0 % DOLLAR);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:012}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Returns the amount for people, with four digits behind the point.
pub(super) fn dollars(sum: CostSum) -> String {
    format!("${:.4}", sum.usd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_is_lost() {
        let shown = |sum: u128| decimal(CostSum(sum));
        assert_eq!(
            [
                shown(0),
                shown(1),
                shown(1_250_000_000_000),
                shown(u128::from(u64::MAX) * 1000)
            ],
            ["0", "0.000000000001", "1.25", "18446744073.709551615"]
        );
    }
}
