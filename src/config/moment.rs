//! Points in time as written in a config file: a date, a time and an offset, without quotes.

use std::time::SystemTime;

use jiff::Timestamp;
use toml::value::Datetime;

use crate::text::InvalidText;

/// Advice for a value of another form.
pub(super) const ADVICE: &str = "write a date and a time, such as 2027-01-31T00:00:00Z, without quotes";

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) SystemTime);

impl TryFrom<Datetime> for Moment {
    type Error = InvalidText;

    fn try_from(written: Datetime) -> Result<Self, InvalidText> {
        let Datetime { date, time, offset } = written;
        let (what, advice) = match (date, time, offset) {
            (Some(_), Some(_), Some(_)) => {
                let parsed = written.to_string().parse::<Timestamp>();
                let out_of_range = |_| InvalidText::new("this is out of range");
                return parsed.map(|time| Self(time.into())).map_err(out_of_range);
            }
            (Some(_), Some(_), None) => (
                "this has no offset",
                format!("write {written}Z if this is UTC, otherwise with an offset, such as {written}+01:00"),
            ),
            (Some(_), None, _) => ("this is a date without a time", format!("write {written}T00:00:00Z")),
            (None, ..) => {
                ("this is a time without a date", "write both, such as 2027-01-31T00:00:00Z".to_owned())
            }
        };
        Err(InvalidText::new(what).advise(advice))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn moment(text: &str) -> Result<Moment, InvalidText> {
        text.parse::<Datetime>().unwrap().try_into()
    }

    #[test]
    fn a_moment_has_a_date_a_time_and_an_offset() {
        let at = |seconds| Ok(Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
        for (text, expected) in [
            ("1970-01-02T00:00:00Z", at(86_400)),
            ("1970-01-02 00:00:00Z", at(86_400)),
            ("1970-01-02T01:30:00+01:30", at(86_400)),
            ("1970-01-01T22:00:00-02:00", at(86_400)),
            ("2027-01-31T00:00:00Z", at(1_801_353_600)),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
        let before_1970 = moment("1969-12-31T23:59:59.5Z").unwrap();
        assert_eq!(before_1970.0, SystemTime::UNIX_EPOCH - Duration::from_millis(500));
        for (text, what, advice) in [
            ("2027-01-31T00:00:00", "no offset", "write 2027-01-31T00:00:00Z if this is UTC"),
            ("2027-01-31", "a date without a time", "write 2027-01-31T00:00:00Z"),
            ("12:00:00", "a time without a date", "write both"),
        ] {
            let invalid = moment(text).unwrap_err();
            assert!(invalid.what.contains(what), "{text}: {invalid:?}");
            assert!(invalid.advice.as_ref().is_some_and(|it| it.starts_with(advice)), "{text}: {invalid:?}");
        }
        assert!(moment("9999-12-31T23:59:59-12:00").unwrap_err().what.contains("out of range"));
    }
}
