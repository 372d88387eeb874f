//! The text in which metrics are told: a form that Prometheus takes, of names that documents explain.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};

use crate::languages::root;
use crate::metrics::samples;

fn start() -> (Server, Identity) {
    let operator = Identity::new("operator");
    let setup = Setup::new().master("operator", &operator);
    let setup = setup.plugin("echo", components::echo(), &["echo"], "instances = \"shared\"\nmax_calls = 1");
    let setup = setup.section("[state]\nengine = \"sqlite\"\npath = \"state.db\"");
    (setup.section("[admin]\nclient_labels = 1").start(), operator)
}

#[test]
fn promtool_finds_nothing_to_say_against_the_metrics() {
    let Some(promtool) = crate::prometheus::tool("promtool") else { return };
    let (server, operator) = start();
    let mut connection = server.connect(&operator);
    connection.ask("echo hello");
    let text = connection.ask("@status metrics");
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect(
        "promtool starts; `cargo xtask test` fetches it, and LICTOR_TEST_WITHOUT=prometheus leaves it out",
    );
    check.stdin.take().unwrap().write_all((text + "\n").as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_process_and_its_version_are_told() {
    let (server, operator) = start();
    let mut connection = server.connect(&operator);
    let samples = samples(&mut connection);
    assert_eq!(samples[&format!("lictor_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - samples["process_start_time_seconds"];
    assert!((0.0..600.0).contains(&age), "{age}");
    assert!((0.0..60.0).contains(&(now - samples["lictor_clock_timestamp_seconds"])));
    assert_eq!(samples["lictor_draining"], 0.0);
    assert!(samples["process_cpu_seconds_total"] > 0.0);
    assert!(samples["process_virtual_memory_bytes"] > samples["process_resident_memory_bytes"]);
    assert!(samples["process_resident_memory_bytes"] > 1e6);
    assert!(samples["process_max_fds"] > samples["process_open_fds"] && samples["process_open_fds"] > 3.0);
}

/// A metric's type and the names of its labels.
type Form = (String, BTreeSet<String>);

/// Returns the metrics that the table of the document explains.
fn documented(document: &str) -> BTreeMap<String, Form> {
    let (_, table) = document.split_once("\n| metric | type | labels | meaning |\n").unwrap();
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let metrics = rows.flat_map(|row| {
        let [_, names, kind, labels, ..] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let form = (kind.trim().to_owned(), spans(labels));
        spans(names).into_iter().map(move |name| (name, form.clone()))
    });
    metrics.collect()
}

/// Returns the metrics that a scrape tells.
fn told(text: &str) -> BTreeMap<String, Form> {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let of_kind = |(name, kind): (&str, &str)| {
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| !rest.is_empty());
        let labels = samples
            .filter(|rest| ["{", " ", "_bucket{", "_sum", "_count"].iter().any(|next| rest.starts_with(next)))
            .filter_map(|rest| Some(rest.split_once('{')?.1.rsplit_once('}')?.0.to_owned()))
            .flat_map(|labels| {
                labels.split(',').map(|label| label.split_once('=').unwrap().0.to_owned()).collect::<Vec<_>>()
            })
            .filter(|label| label != "le");
        (name.to_owned(), (kind.to_owned(), labels.collect()))
    };
    kinds.map(of_kind).collect()
}

/// Counters of bounds are in `docs/limits.md`, which another test compares with the source.
#[test]
fn the_reference_explains_every_metric_and_no_other() {
    let documents = |name: &str| std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let bounds = documents("limits.md");
    let (server, operator) = start();
    let mut connection = server.connect(&operator);
    connection.ask("echo hello");
    let mut told = told(&connection.ask("@status metrics"));
    told.retain(|name, _| !(name.ends_with("_total") && bounds.contains(&format!("`{name}`"))));
    assert!(told.len() > 10, "{told:?}");
    assert_eq!(documented(&documents("operations.md")), told);
}
