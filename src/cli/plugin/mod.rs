//! `lictor plugin …`: what authors of plugins need, without a server.

mod inspect;
mod run;

use clap::Subcommand;

use super::{Failure, output};

/// Look at a plugin, or run it without a server
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    Inspect(inspect::Inspect),
    Run(run::Run),
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Inspect(verb) => verb.run(),
            Self::Run(verb) => verb.run(),
        }
    }
}

/// A number of bytes as people read it.
fn bytes(count: usize) -> String {
    const KIB: f64 = 1024.0;
    match count as f64 {
        small if small < KIB => format!("{count} B"),
        middle if middle < KIB * KIB => format!("{:.1} KiB", middle / KIB),
        large => format!("{:.1} MiB", large / KIB / KIB),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_shown_in_a_fitting_unit() {
        for (count, shown) in [(0, "0 B"), (1023, "1023 B"), (9520, "9.3 KiB"), (16 << 20, "16.0 MiB")] {
            assert_eq!(super::bytes(count), shown);
        }
    }
}
