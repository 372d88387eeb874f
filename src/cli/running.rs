//! The server of a config file that is edited: asked to reload once the file is written.

use std::path::{Path, PathBuf};

use super::output::{self, Reply};
use super::request::request;
use super::session::{Session, Undone};
use super::target::{RELOAD, Target, TargetOptions, Wanted};
use super::{Exit, Failure};
use crate::config::Config;

/// An edit of a config, to be put in force.
#[derive(Clone, Copy)]
pub(super) struct Edit<'e> {
    /// The client that it takes out.
    pub(super) leaving: Option<&'e str>,
    /// The state of a running server until it has reloaded: "still admits laptop".
    pub(super) until_reload: &'e str,
}

/// The server of a config file.
pub(super) struct Running<'e> {
    path: PathBuf,
    edit: Edit<'e>,
    server: Server,
}

enum Server {
    /// It reloads by itself.
    Watching,
    /// It can be asked, or not for this reason.
    Asked(Result<Target, Failure>),
    /// The file is faulty before the edit.
    Unknown,
}

impl<'e> Running<'e> {
    /// Finds the server of the config file as it is before the edit, and a client that the server admits: by
    /// the edited file that may be no longer so, or not yet.
    pub(super) fn before((path, config): (&Path, Option<&Config>), edit: Edit<'e>) -> Self {
        let server = match config {
            Some(config) if config.server.watch => Server::Watching,
            Some(config) => Server::Asked(Target::in_config(config, edit.wanted())),
            None => Server::Unknown,
        };
        Self { path: path.to_owned(), edit, server }
    }

    /// Reloads the server, if it runs.
    pub(super) fn reload(self) -> Result<(), Failure> {
        let target = match self.server {
            Server::Watching => {
                return output::line(
                    "a running server reloads it by itself (`watch` in [server]); `lictor status` shows whether it did",
                );
            }
            Server::Asked(target) => target,
            Server::Unknown => TargetOptions::of_config(&self.path).resolve(self.edit.wanted()),
        };
        let until_reload = self.edit.until_reload;
        let session = match target.map(Session::open_if_running) {
            Err(failure) => {
                let why = failure.report().unwrap_or("the config can't be read");
                output::note(&format!("a running server was not reloaded: {why}"));
                return output::line(&format!(
                    "a running server {until_reload}: reload it by SIGHUP (`systemctl reload lictor`) or `lictor reload`"
                ));
            }
            Ok(Ok(None)) => return output::line("no server runs; it takes effect when one starts"),
            Ok(Ok(Some(session))) => session,
            Ok(Err(failure)) => return Err(self.edit.not_asked(failure.exit(), failure.report())),
        };
        self.edit.put_in_force(session)
    }
}

impl Edit<'_> {
    fn wanted(&self) -> Wanted<'_> {
        Wanted::Reload { without: self.leaving }
    }

    fn put_in_force(&self, mut session: Session) -> Result<(), Failure> {
        let reload = request(&[RELOAD.to_owned()], None)?;
        let done = session.try_run(reload, None, Reply::text());
        session.close();
        match (done, self.leaving) {
            (Ok(()), _) => Ok(()),
            // The server takes away before it adds, and stops the commands of a client that is taken away.
            (Err(Undone::Refused(refusal)), Some(client)) if refusal.code.as_deref() == Some("cancelled") => {
                output::line(&format!(
                    "the server no longer admits {client}, by whose key it was reloaded: its connections are closed"
                ))
            }
            (Err(Undone::Refused(refusal)), _) if refusal.is_of_permission() => {
                let why = "no client whose key is here may run @reload";
                Err(self.not_asked(Exit::Failed, Some(why)))
            }
            // The server says what it has taken away.
            (Err(undone), _) => {
                output::note("the change is written, but the server has not reloaded it:");
                Err(undone.into_failure(RELOAD))
            }
        }
    }

    /// The failure of a server that has not been asked to reload.
    fn not_asked(&self, exit: Exit, why: Option<&str>) -> Failure {
        let why = why.map_or_else(String::new, |why| format!(" {why}"));
        output::note(&format!("the change is written, but the server has not reloaded it:{why}"));
        let until_reload = self.until_reload;
        Failure::new(
            exit,
            format!(
                "the running server {until_reload}: send it SIGHUP (`systemctl reload lictor`, or `kill -HUP` and its process id)"
            ),
        )
    }
}
