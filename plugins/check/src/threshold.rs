//! Thresholds in the syntax of the Monitoring Plugins guidelines.
//!
//! | range | alerts where the value is |
//! |---|---|
//! | `10` | below 0 or above 10 |
//! | `10:` | below 10 |
//! | `~:10` | above 10 |
//! | `10:20` | below 10 or above 20 |
//! | `@10:20` | at least 10 and at most 20 |

use lictor_plugin::FromArgument;

/// Range of values that alerts.
#[derive(Debug, PartialEq)]
pub(crate) struct Range {
    /// Infinite if there is no such end.
    from: f64,
    to: f64,
    /// Alerts for values inside the range, instead of outside.
    inside: bool,
}

impl Range {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (inside, text) = text.strip_prefix('@').map_or((false, text), |text| (true, text));
        let (from, to) = match text.split_once(':') {
            None => (0.0, number(text)?),
            Some((from, to)) => (
                if from == "~" { f64::NEG_INFINITY } else { number(from)? },
                if to.is_empty() { f64::INFINITY } else { number(to)? },
            ),
        };
        (from <= to).then_some(Self { from, to, inside })
    }

    pub(crate) fn alerts(&self, value: f64) -> bool {
        (self.from <= value && value <= self.to) == self.inside
    }

    /// Returns the range as figures show it, with this many decimals.
    pub(crate) fn text(&self, decimals: usize) -> String {
        let at = if self.inside { "@" } else { "" };
        let from = match self.from {
            0.0 if self.to.is_finite() => String::new(),
            from if from.is_infinite() => "~:".to_owned(),
            from => format!("{from:.decimals$}:"),
        };
        let to = if self.to.is_finite() { format!("{:.decimals$}", self.to) } else { String::new() };
        [at, &from, &to].concat()
    }
}

fn number(text: &str) -> Option<f64> {
    // The standard library also reads `inf` and `1e5`, which are not in the guidelines.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    is_plain.then(|| text.parse().ok()).flatten()
}

impl FromArgument<'_> for Range {
    const EXPECTED: &'static str = "a range such as 10, 10:, ~:10, 10:20 or @10:20";

    fn from_argument(text: &mut String) -> Option<Self> {
        Self::parse(text)
    }
}

/// A range of percentages; `%` may follow each of its numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) Range);

impl FromArgument<'_> for Percent {
    const EXPECTED: &'static str = "a percentage such as 80% or a range of them such as 20%:80%";

    fn from_argument(text: &mut String) -> Option<Self> {
        Range::parse(&text.replace("%:", ":").replace('%', "")).map(Self)
    }
}

/// A range for each of the three load averages.
#[derive(Debug, PartialEq)]
pub(crate) struct Averages(pub(crate) [Range; 3]);

impl FromArgument<'_> for Averages {
    const EXPECTED: &'static str = "three ranges such as 5,4,3";

    fn from_argument(text: &mut String) -> Option<Self> {
        let ranges: Option<Vec<Range>> = text.split(',').map(Range::parse).collect();
        ranges?.try_into().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_alert_as_the_guidelines_say() {
        let cases = [
            ("10", [true, false, false, false, true]),
            ("10:", [true, true, false, false, false]),
            ("~:10", [false, false, false, false, true]),
            ("10:20", [true, true, false, false, false]),
            ("@10:20", [false, false, true, true, true]),
            ("0", [true, false, true, true, true]),
        ];
        for (text, expected) in cases {
            let range = Range::parse(text).unwrap();
            assert_eq!([-1.0, 0.0, 10.0, 10.0, 15.0].map(|value| range.alerts(value)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", ":", ":10", "@", "x", "10:x", "20:10", "inf", "1e3", "~", "10:20:30", "nan:", "~:~"]
        {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_is_written_as_it_was() {
        for text in ["10", "10:", "~:10", "10:20", "@10:20", "-5:5", "0:", "@~:3"] {
            assert_eq!(Range::parse(text).unwrap().text(0), text);
        }
        assert_eq!(Range::parse("1:2.5").unwrap().text(3), "1.000:2.500");
        assert_eq!(Range::parse("0:5").unwrap().text(0), "5");
    }

    #[test]
    fn arguments_are_ranges() {
        assert_eq!(Percent::from_argument(&mut "20%:80%".into()), Range::parse("20:80").map(Percent));
        assert_eq!(Percent::from_argument(&mut "80".into()), Range::parse("80").map(Percent));
        assert!(Averages::from_argument(&mut "5,4,@1:3".into()).is_some());
        assert_eq!(Averages::from_argument(&mut "5,4".into()), None);
        assert_eq!(Averages::from_argument(&mut "5,4,3,2".into()), None);
    }
}
