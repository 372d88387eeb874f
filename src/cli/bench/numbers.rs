//! Numbers and times as people read them.

use std::time::Duration;

/// Formats a number with a comma after each three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Formats nanoseconds in a fitting unit, with three digits.
pub(super) fn time(nanos: u64) -> String {
    let (amount, unit) = match nanos as f64 {
        small if small < 999.5e3 => (small / 1e3, "µs"),
        middle if middle < 999.5e6 => (middle / 1e6, "ms"),
        large => (large / 1e9, "s"),
    };
    let digits = match amount {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    format!("{amount:.digits$} {unit}")
}
