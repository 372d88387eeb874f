//! The dashboard: each panel shows something when there is something to show.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use testkit::eventually_within;

use super::{Prometheus, eventful, start, trouble, without_metrics};
use crate::languages::root;

fn text() -> String {
    fs::read_to_string(root().join("deploy/grafana/lictor.json")).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&text()).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// Returns the panels' queries, with their panel's title, as Grafana would send them.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap().clone();
        let title = panel["title"].as_str().unwrap().to_owned();
        targets.into_iter().map(move |target| (title.clone(), sent(&target["expr"])))
    };
    panels(dashboard).flat_map(of_panel).collect()
}

fn sent(query: &Value) -> String {
    let query = query.as_str().unwrap().replace("$__rate_interval", "10s").replace("$instance", ".*");
    assert!(!query.contains('$'), "{query}");
    query
}

#[test]
fn each_panel_says_what_it_shows_and_in_which_unit() {
    let dashboard = dashboard();
    for key in ["uid", "title", "description"] {
        assert!(!dashboard[key].as_str().unwrap().is_empty(), "{key}");
    }
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let (mut ids, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        let grid = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        grid.for_each(|field| assert!(fields.insert(field), "it covers another: {panel}"));
    }
    let mut titles = 0;
    for panel in panels(&dashboard) {
        let description = panel["description"].as_str().unwrap();
        assert!(description.ends_with('.') || description.ends_with('`'), "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].as_str().is_some_and(|unit| !unit.is_empty()));
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"), "{panel}");
        titles += usize::from(!panel["title"].as_str().unwrap().is_empty());
    }
    assert_eq!(titles, panels(&dashboard).count());
    for (_, query) in queries(&dashboard) {
        assert!(query.contains("instance=~\".*\""), "it shows all instances: {query}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    assert_eq!(
        variables.map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["datasource", "instance"]
    );
}

#[test]
fn every_panel_shows_something_when_everything_happens() {
    const PATIENCE: Duration = Duration::from_secs(120);
    let (server, operator, reader) = start(eventful());
    let Some(prometheus) = Prometheus::start(&server, &reader) else { return };
    let dashboard = dashboard();
    let mut empty = queries(&dashboard);
    assert!(empty.len() > 50);
    eventually_within(PATIENCE, "no panel to be empty", || {
        trouble(&server, &operator);
        empty.retain(|(_, query)| prometheus.query(query).is_empty());
        if empty.is_empty() { Some(()) } else { None }
    });
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        if annotation["builtIn"] != 1 {
            prometheus.query(&sent(&annotation["expr"]));
        }
    }
    assert!(!prometheus.query("lictor_build_info").is_empty(), "the variable `instance` has values");
    let scrape = server.connect(&operator).ask("@metrics");
    assert_eq!(without_metrics(&text(), &scrape), BTreeSet::new());
}
