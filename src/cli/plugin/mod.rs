//! `lictor plugin …`: the plugins of a config file; tools for plugin authors, without a server.

mod add;
mod build;
mod dev;
mod diff;
mod grants;
mod inspect;
mod list;
mod new;
mod options;
mod remove;
mod run;
mod script;
mod test;

use clap::Subcommand;

use super::{Failure, output};

/// Add, remove and list the plugins in a config file; create, build, inspect, run and test plugins
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    Add(add::Add),
    Rm(remove::Remove),
    List(list::List),
    New(new::New),
    Dev(dev::Dev),
    Inspect(inspect::Inspect),
    Diff(diff::Diff),
    Run(Box<run::Run>),
    Test(test::Test),
    Bindings(build::Bindings),
    Componentize(build::Componentize),
    Seal(build::Seal),
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(verb) => verb.run(),
            Self::Rm(verb) => verb.run(),
            Self::List(verb) => verb.run(),
            Self::New(verb) => verb.run(),
            Self::Dev(verb) => verb.run(),
            Self::Inspect(verb) => verb.run(),
            Self::Diff(verb) => verb.run(),
            Self::Run(verb) => verb.run(),
            Self::Test(verb) => verb.run(),
            Self::Bindings(verb) => verb.run(),
            Self::Componentize(verb) => verb.run(),
            Self::Seal(verb) => verb.run(),
        }
    }
}
