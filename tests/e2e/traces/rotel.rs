//! Traces in a collector that others wrote: Rotel, which prints the spans that it takes.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use testkit::certs::Identity;
use testkit::components;
use testkit::eventually;
use testkit::server::Setup;

/// Returns the program; `None` if it is unavailable here.
#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
fn program() -> Option<PathBuf> {
    let without = std::env::var("LICTOR_TEST_WITHOUT").unwrap_or_default();
    if without.split(' ').any(|missing| missing == "rotel") {
        println!("SKIPPED: rotel could not be installed");
        return None;
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    Some(tools.join("rotel==0.0.1a15/rotel/rotel-agent"))
}

/// A running collector, which ends with this value.
struct Rotel {
    child: Child,
    output: PathBuf,
    url: String,
}

impl Rotel {
    fn start(program: &Path, folder: &Path) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (http, grpc, output) = (free(), free(), folder.join("rotel.txt"));
        let file = File::create(&output).unwrap();
        let mut command = Command::new(program);
        command.args([
            "start",
            "--otlp-http-endpoint",
            &http.to_string(),
            "--otlp-grpc-endpoint",
            &grpc.to_string(),
        ]);
        command.args([
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).current_dir(folder);
        let child = command.spawn().expect(
            "rotel starts; `cargo xtask test` fetches it, and LICTOR_TEST_WITHOUT=rotel leaves it out",
        );
        Self { child, output, url: format!("http://{http}") }
    }

    /// What it printed.
    fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_collector_takes_the_spans() {
    let Some(program) = program() else { return };
    let tester = Identity::new("tester");
    let setup =
        Setup::new().master("tester", &tester).section("[state]\nengine = \"sqlite\"\npath = \"state.db\"");
    let rotel = Rotel::start(&program, setup.folder());
    let stores = "[plugins.stateful.grants]\nkeyvalue = [\"default\"]";
    let setup = setup.plugin("stateful", components::stateful(), &["state-set"], stores);
    let server = setup.section(&format!("[telemetry]\notlp = {:?}\nsample = 1", rotel.url)).start();
    let mut connection = server.connect(&tester);
    connection.ask("state-set default key value");
    connection.ask_framed("nothing");
    let text = eventually("the spans", || {
        let text = rotel.printed();
        ["state.commit", "_OTHER"].iter().all(|name| text.contains(name)).then_some(text)
    });
    for told in
        ["service.instance.id", "state-set", "rpc.system.name", "enduser.id", "unknown-command", "queue"]
    {
        assert!(text.contains(told), "{told} in {text}");
    }
    assert!(!server.printed().contains("does not take spans"));
}
