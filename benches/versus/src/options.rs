//! The command line.

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use super::scenarios;

/// Measure Lictor against other programs, and print tables
#[derive(Parser)]
#[command(name = "cargo xtask versus", no_binary_name = true)]
pub struct Options {
    /// Scenarios to measure; all by default
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(scenarios::names()))]
    pub scenarios: Vec<String>,

    /// Number of rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,

    /// Run one very short round, to check that everything works; the figures mean nothing
    #[arg(long)]
    pub quick: bool,

    /// Write the charts into docs/performance/
    #[arg(long)]
    pub plots: bool,

    /// Write the tables into docs/performance.md
    #[arg(long, conflicts_with = "quick")]
    pub write: bool,
}

impl Options {
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.into() }
    }

    /// Returns the time for which a program is measured in a round.
    pub fn time(&self) -> Duration {
        if self.quick { Duration::from_millis(200) } else { Duration::from_secs(3) }
    }

    /// Returns the warm-up time before that.
    pub fn warm_up(&self) -> Duration {
        if self.quick { Duration::from_millis(50) } else { Duration::from_millis(500) }
    }

    /// Returns `usual`, or `few` in a quick run.
    pub fn many(&self, usual: usize, few: usize) -> usize {
        if self.quick { few } else { usual }
    }

    /// Describes the rounds in words.
    pub fn described(&self) -> String {
        match self.rounds {
            _ if self.quick => "`--quick`, whose figures mean nothing".to_owned(),
            1 => "1 round".to_owned(),
            rounds => format!("{rounds} rounds"),
        }
    }
}
