//! `lictor schema`: the JSON Schema of a config file.

use super::{Failure, output};
use crate::config;

/// Print the JSON Schema of a config file, for editors
///
/// It describes the sections, keys and values that `lictor check` accepts, and not how they fit together.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor schema > server.schema.json            write `#:schema ./server.schema.json` on top of server.toml")]
pub(super) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "as the other verbs")]
    pub(super) fn run(self) -> Result<(), Failure> {
        output::line(&format!("{:#}", config::schema()))
    }
}
