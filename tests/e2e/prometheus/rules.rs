//! The alerts: each fires and is quiet as its test has it, has a page, and asks for metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testkit::eventually;
use testkit::server::Setup;
use testkit::tools::finish;

use super::{Prometheus, shipped, start, tool, without_metrics};
use crate::languages::root;

/// Returns what follows `key` in the lines of a text that begin with it.
fn values<'t>(text: &'t str, key: &str) -> BTreeSet<&'t str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).collect()
}

#[test]
fn promtool_takes_the_alerts_and_each_passes_its_test() {
    let Some(promtool) = tool("promtool") else { return };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let folder = root().join("deploy/prometheus");
        let checked = finish(Command::new(&promtool).args(arguments).current_dir(folder));
        assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    }
}

#[test]
fn each_alert_has_a_test_and_a_page_and_each_page_an_alert() {
    let (alerts, tests) = (shipped("alerts.yml"), shipped("alerts_test.yml"));
    let names = values(&alerts, "- alert: ");
    assert!(names.len() > 30, "{names:?}");
    for test in tests.split("  - name: ").skip(1).filter(|test| !test.contains("input_series: []")) {
        assert!(test.contains("bad\"") && test.contains("good\""), "{test}");
    }
    for name in &names {
        assert!(tests.contains(&format!("ALERTS{{alertname=\"{name}\", ")), "{name} has no test");
        let page = root().join(format!("docs/runbooks/{name}.md"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let sections = values(&text, "## ").into_iter().collect::<Vec<_>>();
        assert_eq!(sections, ["Do", "Ignore it", "Look"], "{name}");
        assert!(text.starts_with(&format!("# {name}\n\n")), "{name}");
    }
    let told = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for name in &names {
        assert!(
            told.contains(&format!("[{name}](runbooks/{name}.md)")),
            "operations.md does not name {name}"
        );
    }
    let pages = fs::read_dir(root().join("docs/runbooks")).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let named: BTreeSet<_> = names.iter().map(|name| format!("{name}.md")).collect();
    assert_eq!(pages.collect::<BTreeSet<_>>(), named);
    let sections = alerts.matches("        annotations:\n").count();
    for annotation in ["summary", "description", "runbook_url"] {
        assert_eq!(alerts.matches(&format!("\n          {annotation}: ")).count(), sections, "{annotation}");
    }
}

#[test]
fn alerts_and_their_pages_name_metrics_that_there_are() {
    let (server, operator, _) = start(super::eventful());
    super::trouble(&server, &operator);
    let scrape = server.connect(&operator).ask("@metrics");
    let folder = root().join("docs/runbooks");
    let pages = fs::read_dir(folder).unwrap().map(|page| page.unwrap().path());
    let alerts = root().join("deploy/prometheus/alerts.yml");
    for path in pages.chain([alerts]).collect::<Vec<PathBuf>>() {
        let unknown = without_metrics(&fs::read_to_string(&path).unwrap(), &scrape);
        assert!(unknown.is_empty(), "{}: there is no {unknown:?}", path.display());
    }
}

#[test]
fn prometheus_evaluates_each_alert_and_writes_its_words() {
    let (server, operator, reader) = start(Setup::new().echo());
    let Some(prometheus) = Prometheus::start(&server, &reader) else { return };
    server.edit(|text| text + "[nosuch]\n");
    assert!(server.connect(&operator).ask("@reload").starts_with("ERR "));
    let rules = || {
        let groups = prometheus.data("rules?type=alert")["groups"].as_array().unwrap().clone();
        groups.into_iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    eventually("each to be evaluated", || {
        let rules = rules();
        let is_evaluated = rules.iter().all(|rule| rule["health"] == "ok");
        (rules.len() > 30 && is_evaluated).then_some(())
    });
    // Its time is not over, so that it is pending.
    let alert = eventually("the alert", || {
        let alerts = prometheus.data("alerts")["alerts"].as_array().unwrap().clone();
        alerts.into_iter().find(|alert| alert["labels"]["alertname"] == "LictorReloadFailed")
    });
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert_eq!(alert["state"], "pending");
    assert!(summary.starts_with("The last reload of Lictor on 127.0.0.1:"), "{summary}");
}
