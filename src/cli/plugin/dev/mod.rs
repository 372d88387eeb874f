//! `lictor plugin dev`: builds, serves and tests a project whenever one of its sources changes.

mod project;
mod serving;
mod step;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::project::Project;
use self::serving::Serving;
use self::step::Step;
use super::{Failure, output};
use crate::author::{self, Round, Sources};

/// Rebuild, serve and test a project whenever its sources change
///
/// Runs the project's build.sh, serves the component on a local server, prints a command that calls it, and
/// runs test.sh. If a build fails, the last good component is still served. A change during a build restarts
/// the build. Runs until Ctrl-C.
///
/// The plugin gets the grants that need no settings: its log, the store `default`, other commands, topics. To
/// grant more (settings, files, URLs), serve it with a config of your own, using --config.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin new greet --lang rust && lictor plugin dev greet
  lictor plugin dev
  lictor plugin dev greet --config server.toml     with a [plugins.NAME] whose component = \"greet/greet.wasm\"")]
pub(in crate::cli) struct Dev {
    /// Project folder, created by `lictor plugin new`
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Config to serve [default: a generated one in the project's folder `build`]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Timeout for background tasks at the end.
const ENDING: Duration = Duration::from_secs(1);

impl Dev {
    pub(super) fn run(self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("cannot start: {error}"));
        let project = Project::at(&self.folder)?;
        let _lock = project.locked()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let _log = author::log_for_authors();
        let done = runtime.block_on(async {
            let stop = Stop::new().map_err(failed)?;
            let serving = Serving::of(&project, self.config.as_deref())?;
            let made = serving.made().into_iter().chain(step::screen()).collect();
            let sources = Sources::of(&project.folder, made, self.config.clone()).map_err(told)?;
            Workshop { project, serving, sources, stop }.work().await;
            Ok(())
        });
        runtime.shutdown_timeout(ENDING);
        done
    }
}

fn told(error: anyhow::Error) -> Failure {
    Failure::failed(format!("{error:#}"))
}

/// The signals that end the program: Ctrl-C and Ctrl-\, a service manager's, and a closed terminal's.
struct Stop([Signal; 4]);

impl Stop {
    fn new() -> std::io::Result<Self> {
        let kinds =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let [interrupt, terminate, hangup, quit] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?, quit?]))
    }

    async fn signal(&mut self) {
        let [interrupt, terminate, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// A project with its server and watched sources.
struct Workshop {
    project: Project,
    serving: Serving,
    sources: Sources,
    stop: Stop,
}

impl Workshop {
    async fn work(self) {
        let Self { project, mut serving, mut sources, mut stop } = self;
        loop {
            let mut is_done = false;
            sources.begin_round();
            let changed = {
                let mut round = Box::pin(round(&project, &mut serving));
                loop {
                    tokio::select! {
                        biased;
                        () = stop.signal() => break None,
                        changed = sources.changed() => match changed {
                            Ok(path) => break Some(path),
                            Err(error) => output::note(&format!("{error:#}")),
                        },
                        () = &mut round, if !is_done => {
                            is_done = true;
                            if let Some(path) = after(sources.end_round()) {
                                break Some(path);
                            }
                        }
                    }
                }
                // Dropping the round ends its running processes.
            };
            match changed {
                None => break,
                Some(path) => {
                    serving.is_current &= Project::is_of_tests(&path);
                    let ended = if is_done { "" } else { ", so the current step is stopped" };
                    output::note(&format!("{} has changed{ended}", path.display()));
                }
            }
        }
        serving.stop().await;
    }
}

/// Reports on the files a round has written; returns a file whose change requires another round.
fn after(ended: anyhow::Result<Round>) -> Option<PathBuf> {
    let Round { changed, made } = ended.unwrap_or_else(|error| {
        output::note(&format!("{error:#}"));
        Round::default()
    });
    for path in made {
        output::note(&format!(
            "{} has changed in each of the last builds, so it is taken for what they write: a change of it during a build or a test \
             does not begin another. Have it written into `build`; or, if you changed it yourself, save it once more",
            path.display()
        ));
    }
    changed
}

/// Builds and serves the project, unless it is served unchanged; then tests it. Reports the results. Dropping
/// the future ends the processes it started.
async fn round(project: &Project, serving: &mut Serving) {
    if !serving.is_current {
        serving.is_current = serve(project, serving).await;
    }
    if serving.is_current && project.has("test.sh") {
        match ended(Step::begin(project, "test.sh", &[("LICTOR_BUILT", "1")]), "test.sh").await {
            Ok(()) => output::note("the tests passed"),
            Err(failure) => {
                output::failure(&failure);
            }
        }
    }
}

/// Builds the project, and serves the result. Returns true if that succeeded.
async fn serve(project: &Project, serving: &mut Serving) -> bool {
    output::note(&format!("building {}", project.name));
    let began = Instant::now();
    let component = match ended(Step::begin(project, "build.sh", &[]), "build.sh").await {
        Ok(()) => project.component(),
        Err(failure) => Err(failure),
    };
    let put = match component {
        Ok(component) => serving.put(&component).await,
        Err(failure) => Err(failure),
    };
    match put {
        Ok(call) => {
            let took = began.elapsed();
            output::note(&format!("{} is served, after {took:.1?}; to call it: {call}", project.name));
            true
        }
        Err(failure) => {
            output::failure(&failure);
            output::note(serving.standing());
            false
        }
    }
}

/// Waits for the end of a script of the project, which reports its own faults.
async fn ended(step: std::io::Result<Step>, name: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("{name} cannot be run: {error}"));
    let status = step.map_err(cannot)?.ended().await.map_err(cannot)?;
    if status.success() { Ok(()) } else { Err(Failure::failed(format!("{name} failed ({status})"))) }
}
