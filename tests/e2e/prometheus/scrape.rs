//! Both jobs of the example read the same server.

use std::process::Command;

use testkit::eventually;
use testkit::server::Setup;
use testkit::tools::finish;

use super::{Prometheus, start, tool};

#[test]
fn both_jobs_of_the_example_read_a_server() {
    let (server, operator, reader) = start(Setup::new().echo());
    let Some(prometheus) = Prometheus::start(&server, &reader) else { return };
    let mut connection = server.connect(&operator);
    connection.ask_all(&[("echo a", ""); 5]);
    for job in ["lictor", "lictor-tls"] {
        eventually("a scrape", || {
            (prometheus.value(&format!("up{{job=\"{job}\"}}")) == Some(1.0)).then_some(())
        });
        let echoes =
            format!("lictor_commands_total{{job=\"{job}\",plugin=\"echo\",command=\"echo\",code=\"ok\"}}");
        eventually("the calls", || (prometheus.value(&echoes) == Some(5.0)).then_some(()));
        let version = format!("lictor_build_info{{job=\"{job}\"}}");
        let told = prometheus.query(&version);
        assert_eq!(told[0].0["version"], env!("CARGO_PKG_VERSION"));
        let count = format!("lictor_command_duration_seconds_count{{job=\"{job}\",command=\"echo\"}}");
        assert_eq!(prometheus.value(&count), Some(5.0));
        let clients =
            format!("lictor_certificate_end_timestamp_seconds{{job=\"{job}\",kind=\"client\"}} > time()");
        assert!(!prometheus.query(&clients).is_empty());
    }
    let targets = prometheus.data("targets?state=active");
    let faults = targets["activeTargets"].as_array().unwrap().iter().map(|target| &target["lastError"]);
    assert_eq!(faults.collect::<Vec<_>>(), ["", ""]);
}

#[test]
fn a_server_that_is_gone_is_down() {
    let (mut server, _, reader) = start(Setup::new().echo());
    let Some(prometheus) = Prometheus::start(&server, &reader) else { return };
    let up = |wanted| eventually("a scrape", || (prometheus.value("sum(up)") == Some(wanted)).then_some(()));
    up(2.0);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    up(0.0);
}

#[test]
fn promtool_takes_the_example() {
    let Some(promtool) = tool("promtool") else { return };
    let (server, _, reader) = start(Setup::new());
    // Its folder has the files that the example names.
    let Some(prometheus) = Prometheus::start(&server, &reader) else { return };
    let checked = finish(
        Command::new(promtool).args(["check", "config", "prometheus.yml"]).current_dir(prometheus.folder()),
    );
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
}
