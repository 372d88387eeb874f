//! `lictor client`: the clients of a config file.

mod add;
mod list;
mod remove;

use clap::Subcommand;

use super::Failure;

/// Add, remove and list the clients in a config file
#[derive(Debug, Subcommand)]
pub(super) enum Client {
    Add(add::Add),
    Rm(remove::Remove),
    List(list::List),
}

impl Client {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(verb) => verb.run(),
            Self::Rm(verb) => verb.run(),
            Self::List(verb) => verb.run(),
        }
    }
}
