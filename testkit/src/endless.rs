//! Calls that do not end by themselves, of every kind.

use crate::certs::Identity;
use crate::components;
use crate::server::{Server, Setup};
use crate::web::Web;

/// A call that does not end: its activity, its command, and a command that its plugin answers at once.
pub type Kind = (&'static str, String, &'static str);

/// Longest time for a stopped call's slot and memory to be free again. Queued calls give up after it.
const SECONDS: &str = "[limits]\nqueue_timeout = \"2s\"\nplugin_memory = \"16MiB\"";

/// Starts a server each of whose plugins runs one call at a time, for at most `timeout`.
pub fn start(timeout: &str) -> (Server, Identity, Vec<Kind>) {
    let tester = Identity::new("tester");
    let silent = Web::new(|_, connection| connection.wait_for_close());
    let (url, grants) = (silent.url("/"), format!("http = [{:?}]", silent.url("")));
    let one = format!("concurrency = 1\ntimeout = {timeout:?}");
    let setup = Setup::new().master("tester", &tester).section(SECONDS);
    let setup = setup
        .plugin("hostile", components::hostile(), &["spin", "sleep", "leak"], &one)
        .plugin("other", components::hostile(), &["big"], "timeout = \"10m\"")
        .plugin("streams", components::streams(), &["stall", "count"], &one)
        .plugin(
            "web",
            components::web(),
            &["fetch", "kept"],
            &format!("{one}\n[plugins.web.grants]\n{grants}"),
        )
        .plugin(
            "reaching",
            components::reaching(),
            &["run", "read"],
            &format!("{one}\n[plugins.reaching.grants]\nfiles = []\ncommands = [\"sleep\"]"),
        )
        .plugin(
            "relaying",
            components::relaying(),
            &["run-streamed"],
            &format!("{one}\n[plugins.relaying.grants]\ncommands = [\"spin\"]"),
        );
    let kinds = vec![
        ("computing", "spin".to_owned(), "leak"),
        ("sleeping in the host", "sleep 600000".to_owned(), "leak"),
        ("waiting for another command", "run sleep 600000".to_owned(), "read nothing"),
        ("waiting for the network", format!("fetch GET {url}"), "kept"),
        ("streaming", "stall 1".to_owned(), "count 1"),
        ("streaming what another command computes", "run-streamed spin".to_owned(), "run-streamed nothing"),
    ];
    (setup.start(), tester, kinds)
}
