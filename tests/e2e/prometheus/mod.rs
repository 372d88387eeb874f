//! Prometheus itself reads a server's metrics, as the files in `deploy/` have it do.

mod dashboard;
mod rules;
mod runbooks;
mod scrape;
mod trouble;

use trouble::{eventful, trouble};

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::client::tcp;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::text_of;

use crate::admin::addresses;
use crate::languages::root;

/// Returns a program of Debian's package `prometheus`; `None` if it is unavailable here.
#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
pub fn tool(program: &str) -> Option<PathBuf> {
    let without = std::env::var("LICTOR_TEST_WITHOUT").unwrap_or_default();
    if without.split(' ').any(|missing| missing == "prometheus") {
        println!("SKIPPED: {program} could not be installed");
        return None;
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/prometheus/usr/bin");
    Some(Some(tools.join(program)).filter(|path| path.exists()).unwrap_or_else(|| program.into()))
}

/// A running Prometheus with its data in a folder of its own; ends with this value.
pub struct Prometheus {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it with the files of `deploy/prometheus`, whose jobs scrape `server` by the client `reader`;
    /// `None` if it is unavailable here.
    pub fn start(server: &Server, reader: &Identity) -> Option<Self> {
        let program = tool("prometheus")?;
        let folder = TempDir::new().unwrap();
        let config = replaced(
            &shipped("prometheus.yml"),
            &[
                ("127.0.0.1:4891", &addresses(server, "metrics and health")[0].to_string()),
                (
                    "lictor.example.org:4889",
                    &addresses(server, "metrics and health to clients")[0].to_string(),
                ),
                ("interval: 15s", "interval: 250ms"),
            ],
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        fs::write(folder.path().join("alerts.yml"), shipped("alerts.yml")).unwrap();
        fs::copy(server.folder().join("server.pem"), folder.path().join("server.pem")).unwrap();
        reader.write(folder.path(), "prometheus");
        let log = folder.path().join("log");
        let mut command = Command::new(program);
        command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json", "--storage.tsdb.path=data"]);
        command.arg("--config.file=prometheus.yml").current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let child = command.spawn().expect(
            "Prometheus starts; `cargo xtask test` fetches it, and LICTOR_TEST_WITHOUT=prometheus leaves it out",
        );
        let mut prometheus = Self { folder, child, address: ([127, 0, 0, 1], 0).into() };
        prometheus.address = eventually("its address", || {
            assert!(prometheus.child.try_wait().unwrap().is_none(), "it ended: {}", text_of(&log));
            let entries = text_of(&log);
            let mut entries = entries.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            entries.find(|entry| entry["msg"] == "Listening on")?["address"].as_str()?.parse().ok()
        });
        eventually("it to be ready", || {
            prometheus.page("/-/ready").starts_with("HTTP/1.0 200").then_some(())
        });
        Some(prometheus)
    }

    /// Returns the answer to a path of its interface, with the head.
    fn page(&self, path: &str) -> String {
        let mut stream = tcp(self.address);
        // In this version, a response ends with its connection.
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Returns the data of a path below `/api/v1/`.
    pub fn data(&self, path: &str) -> Value {
        let page = self.page(&format!("/api/v1/{path}"));
        let answer: Value = serde_json::from_str(page.split_once("\r\n\r\n").unwrap().1).expect(&page);
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// Returns the labels and values of a query's result. Those that are no numbers are left out.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.data(&format!("query?query={encoded}"));
        let value = |value: &Value| value[1].as_str().and_then(|value| value.parse::<f64>().ok());
        if data["resultType"] == "scalar" {
            return value(&data["result"]).map(|value| (Value::Null, value)).into_iter().collect();
        }
        let results = data["result"].as_array().unwrap().iter();
        let samples = results.filter_map(|sample| Some((sample["metric"].clone(), value(&sample["value"])?)));
        samples.filter(|(_, value)| !value.is_nan()).collect()
    }

    /// Returns the value of a query once it has exactly one.
    pub fn value(&self, query: &str) -> Option<f64> {
        match self.query(query)[..] {
            [(_, value)] => Some(value),
            _ => None,
        }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a file of `deploy/prometheus`.
fn shipped(name: &str) -> String {
    fs::read_to_string(root().join("deploy/prometheus").join(name)).unwrap()
}

/// Returns the metrics that `text` names and that are not in a scrape.
fn without_metrics(text: &str, scrape: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let named = words.filter(|word| word.starts_with("lictor_") || word.starts_with("process_"));
    let is_there = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        // A `grep` may have the beginning of several.
        scrape.lines().any(|line| line.starts_with(of_histogram.unwrap_or(name)))
    };
    let named: BTreeSet<_> = named.filter(|word| !NO_METRICS.contains(word)).collect();
    assert!(!text.contains("expr") || named.len() > 10);
    named.into_iter().filter(|name| !is_there(name)).map(str::to_owned).collect()
}

/// Keys of the config.
const NO_METRICS: [&str; 1] = ["process_memory"];

fn replaced(text: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old:?} is not there any more");
        text.replace(old, new)
    })
}

/// Starts a server that Prometheus can read as the client `reader`.
pub fn start(setup: Setup) -> (Server, Identity, Identity) {
    let (operator, reader) = (Identity::new("operator"), Identity::new("prometheus"));
    let setup = setup.master("operator", &operator).client("prometheus", &reader, &["@metrics"]);
    let listen = "[admin]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\nclient_labels = 9";
    (setup.section(listen).start(), operator, reader)
}
