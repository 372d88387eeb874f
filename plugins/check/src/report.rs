//! A reply in the format of monitoring: `STATE - words|figure figure`.

use std::fmt::Write;

use lictor_plugin::{Failure, IntoReply};

use crate::threshold::Range;

/// In order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    state: State,
    words: String,
    figures: String,
}

/// A figure behind the `|`.
pub(crate) struct Figure<'a> {
    pub(crate) label: &'a str,
    pub(crate) value: f64,
    /// `s`, `%`, `B`, `KB` or nothing.
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
    pub(crate) warning: Option<&'a Range>,
    pub(crate) critical: Option<&'a Range>,
    /// Largest possible value.
    pub(crate) most: Option<f64>,
}

impl Report {
    pub(crate) fn new(state: State, words: impl Into<String>) -> Self {
        // Text behind a `|` would be read as figures.
        let words = words.into().replace(['|', '\n', '\r'], " ");
        Self { state, words, figures: String::new() }
    }

    /// Adds a figure, and worsens the state if a threshold says so.
    pub(crate) fn figure(mut self, figure: &Figure<'_>) -> Self {
        self.state = self.state.max(figure.state());
        if !self.figures.is_empty() {
            self.figures.push(' ');
        }
        figure.write(&mut self.figures);
        self
    }

    /// Returns the whole report in one line.
    pub(crate) fn text(&self) -> String {
        let state = match self.state {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        };
        let bar = if self.figures.is_empty() { "" } else { "|" };
        [state, " - ", &self.words, bar, &self.figures].concat()
    }
}

impl IntoReply for Report {
    fn into_reply(self) -> Result<Vec<u8>, Failure> {
        Ok(self.text().into_bytes())
    }
}

impl Figure<'_> {
    fn state(&self) -> State {
        let alerts = |range: Option<&Range>| range.is_some_and(|range| range.alerts(self.value));
        match () {
            () if alerts(self.critical) => State::Critical,
            () if alerts(self.warning) => State::Warning,
            () => State::Ok,
        }
    }

    /// Writes `label=value[unit];warning;critical;least;most`. The least is 0 for everything measured here.
    fn write(&self, text: &mut String) {
        let decimals = self.decimals;
        let range = |range: Option<&Range>| range.map(|range| range.text(decimals)).unwrap_or_default();
        let most = self.most.map(|most| format!("{most:.decimals$}")).unwrap_or_default();
        // Writing to a string never fails.
        let _ = write!(
            text,
            "{}={:.decimals$}{};{};{};0;{most}",
            label(self.label),
            self.value,
            self.unit,
            range(self.warning),
            range(self.critical),
        );
    }
}

/// Quotes a label that contains a space, a quote or an equals sign, and doubles the quotes in it.
fn label(text: &str) -> String {
    match text.contains([' ', '\'', '=', '|']) {
        true => format!("'{}'", text.replace('\'', "''").replace('|', " ")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure<'a>(label: &'a str, value: f64, warning: &'a Range, critical: &'a Range) -> Figure<'a> {
        let (warning, critical) = (Some(warning), Some(critical));
        Figure { label, value, unit: "s", decimals: 1, warning, critical, most: None }
    }

    #[test]
    fn the_worst_figure_makes_the_state() {
        let (five, ten) = (Range::parse("5").unwrap(), Range::parse("10").unwrap());
        let report = Report::new(State::Ok, "a|b\nc").figure(&figure("x", 1.0, &five, &ten));
        assert_eq!(report.text(), "OK - a b c|x=1.0s;5.0;10.0;0;");
        let report = report.figure(&figure("y z", 11.0, &five, &ten)).figure(&figure("z'", 6.0, &five, &ten));
        assert_eq!(
            report.text(),
            "CRITICAL - a b c|x=1.0s;5.0;10.0;0; 'y z'=11.0s;5.0;10.0;0; 'z'''=6.0s;5.0;10.0;0;"
        );
        assert_eq!(Report::new(State::Unknown, "why").text(), "UNKNOWN - why");
    }
}
