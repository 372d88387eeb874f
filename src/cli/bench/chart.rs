//! A histogram as lines of text, at most 80 columns wide.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::numbers::time;

/// Maximum lines of a chart.
const MAX_LINES: usize = 16;

/// Maximum length of a bar, in characters.
const MAX_BAR: usize = 56;

/// Bounds within a decade, in tenths of it, from the finest.
const STEPS: [&[u64]; 4] =
    [&[10, 12, 15, 20, 25, 30, 40, 50, 60, 80], &[10, 15, 25, 40, 60], &[10, 20, 50], &[10]];

/// A range of latencies, up to and including `to` nanoseconds, and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) to: u64,
    pub(super) count: u64,
}

/// Ranges that grow by about the same factor, as fine as fits; none for an empty histogram.
pub(super) fn ranges(histogram: &Histogram<u64>) -> Vec<Range> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let fine = STEPS.iter().map(|steps| bounds(histogram, steps)).find(|bounds| bounds.len() <= MAX_LINES);
    let mut from = 0;
    let ranges = fine.unwrap_or_else(|| bounds(histogram, &[10])).into_iter().map(|to| {
        let count = histogram.count_between(from, to);
        from = histogram.next_non_equivalent(to);
        Range { to, count }
    });
    ranges.collect()
}

/// Bounds that cover all recorded values.
fn bounds(histogram: &Histogram<u64>, steps: &[u64]) -> Vec<u64> {
    let mut bounds = Vec::new();
    // From 100 ns: no reply arrives sooner.
    for decade in (1..17).map(|exponent| 10_u64.pow(exponent)) {
        for bound in steps.iter().map(|step| step * decade) {
            // Values that the histogram cannot distinguish from the bound are in its range.
            let bound = histogram.highest_equivalent(bound);
            if bound < histogram.min() {
                continue;
            }
            bounds.push(bound);
            if bound >= histogram.max() {
                return bounds;
            }
        }
    }
    bounds
}

/// The lines: a bound, a bar, and the share of values between the preceding bound and this one.
pub(super) fn chart(histogram: &Histogram<u64>) -> String {
    let ranges = ranges(histogram);
    let most = ranges.iter().map(|range| range.count).max().unwrap_or(0).max(1);
    let all = histogram.len().max(1);
    let mut text = String::new();
    for Range { to, count } in ranges {
        let length = (count as f64 / most as f64 * MAX_BAR as f64).round() as usize;
        // A range with any values has a visible bar.
        let bar = "#".repeat(length.max(usize::from(count > 0)));
        let share = count as f64 / all as f64 * 100.0;
        let share = if count > 0 && share < 0.05 { "<0.1".to_owned() } else { format!("{share:.1}") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<= {:>7}  {share:>5} %  {bar}", time(to));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        values.into_iter().for_each(|value| histogram.saturating_record(value));
        histogram
    }

    #[test]
    fn every_value_lies_in_a_range_and_the_chart_fits() {
        for histogram in [
            of([1]),
            of([250_000]),
            of((0..1000).map(|n| 80_000 + n * 37)),
            of((0..60).map(|n| 1 << (n % 42))),
            of([1, 3_600_000_000_000]),
            of((1..1000).map(|n| n * 1_000_000)),
        ] {
            let ranges = ranges(&histogram);
            assert!((1..=MAX_LINES).contains(&ranges.len()), "{ranges:?}");
            assert_eq!(ranges.iter().map(|range| range.count).sum::<u64>(), histogram.len(), "{ranges:?}");
            let chart = chart(&histogram);
            assert!(chart.lines().all(|line| line.chars().count() <= 80), "{chart}");
            assert_eq!(chart.lines().count(), ranges.len());
        }
        assert_eq!(chart(&of([])), "");
    }

    #[test]
    fn ranges_are_as_fine_as_fits() {
        let chart = chart(&of([vec![100_000; 97], vec![190_000; 3]].concat()));
        assert_eq!(
            chart,
            format!(
                "<=  100 µs   97.0 %  {}\n<=  120 µs    0.0 %  \n<=  150 µs    0.0 %  \n<=  200 µs    3.0 %  ##\n",
                "#".repeat(56)
            )
        );
    }
}
