//! `lictor plugin …`: tools for plugin authors, without a server.

mod build;
mod dev;
mod inspect;
mod new;
mod options;
mod run;
mod script;
mod test;

use clap::Subcommand;

use super::{Failure, output};

/// Create, build, inspect, run and test plugins, without a server
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    New(new::New),
    Dev(dev::Dev),
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
            Self::Dev(verb) => verb.run(),
            Self::Inspect(verb) => verb.run(),
            Self::Run(verb) => verb.run(),
            Self::Test(verb) => verb.run(),
            Self::Bindings(verb) => verb.run(),
            Self::Componentize(verb) => verb.run(),
            Self::Seal(verb) => verb.run(),
        }
    }
}
