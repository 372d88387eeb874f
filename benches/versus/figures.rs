//! Formatting of figures: three digits, since the fourth is noise, and a unit that fits. Pure.

use super::spread::Spread;

/// Quantity that a figure counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// A count, or a count per second.
    Count,
    /// Nanoseconds.
    Time,
    /// Bytes.
    Size,
    /// One quantity over another.
    Ratio,
    /// A part of a whole, 0 to 1.
    Share,
}

/// Placeholder for a missing figure.
pub const NOTHING: &str = "–";

impl Unit {
    /// Returns the divisor and the suffix for figures of about this size.
    fn scale(self, figure: f64) -> (f64, &'static str) {
        let steps: &[(f64, &str)] = match self {
            Self::Count | Self::Ratio => &[(1.0, "")],
            Self::Share => &[(0.01, " %")],
            Self::Time => &[(1.0, " ns"), (1e3, " µs"), (1e6, " ms"), (1e9, " s")],
            Self::Size => &[(1.0, " B"), (1e3, " KB"), (1e6, " MB"), (1e9, " GB")],
        };
        let fits = |&&(step, _): &&(f64, &str)| figure >= step * 0.9995;
        steps.iter().rev().find(fits).copied().unwrap_or(steps[0])
    }

    /// Formats as `82.3 µs`.
    pub fn of(self, figure: f64) -> String {
        let (step, unit) = self.scale(figure);
        format!("{}{unit}", digits(figure / step))
    }

    /// Formats as `82.3 µs (80.1–85.0)`, in the unit of the median.
    pub fn of_spread(self, spread: Option<Spread>) -> String {
        let Some(Spread { median, least, most }) = spread else { return NOTHING.into() };
        let (step, unit) = self.scale(median);
        if least == most {
            return self.of(median);
        }
        format!("{}{unit} ({}–{})", digits(median / step), digits(least / step), digits(most / step))
    }
}

/// Formats a non-negative number in three digits: `54,300`, `820`, `82.3`, `1.25`, `0.08`.
pub fn digits(number: f64) -> String {
    if number < 9.995 {
        return format!("{number:.2}");
    }
    if number < 99.95 {
        return format!("{number:.1}");
    }
    let step = 10_f64.powf(number.log10().floor() - 2.0).max(1.0);
    let whole = format!("{:.0}", (number / step).round() * step);
    let mut written = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}
