//! `lictor plugin …`: what authors of plugins need, without a server.

mod build;
mod inspect;
mod new;
mod run;
mod test;

use clap::Subcommand;

use super::{Failure, output};
use crate::config::ByteSize;

/// Make a plugin's project, look at a plugin, run it without a server, or test what its language can do
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    New(new::New),
    Inspect(inspect::Inspect),
    Run(Box<run::Run>),
    Test(test::Test),
    Bindings(build::Bindings),
    Componentize(build::Componentize),
    Seal(build::Seal),
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(verb) => verb.run(),
            Self::Inspect(verb) => verb.run(),
            Self::Run(verb) => verb.run(),
            Self::Test(verb) => verb.run(),
            Self::Bindings(verb) => verb.run(),
            Self::Componentize(verb) => verb.run(),
            Self::Seal(verb) => verb.run(),
        }
    }
}

/// A size as config files write it.
fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::try_from(text.to_owned()).map_err(|refusal| refusal.to_string())
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
