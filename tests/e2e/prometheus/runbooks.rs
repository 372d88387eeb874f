//! The commands of the runbooks, on a server to which everything has happened.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testkit::certs::Identity;
use testkit::eventually;
use testkit::server::Server;
use testkit::tools::{at_home, finish, program};

use super::{eventful, start, trouble};
use crate::admin::addresses;
use crate::languages::root;

/// What stands at the beginning of commands that can be tried here: the others ask the machine.
const TRIED: [&str; 4] = ["lictor ", "journalctl -u lictor ", "curl -s http", "curl -s 'http"];

const OPERATIONS: &str = "docs/operations.md";

/// Returns the chapter of the document that is like a runbook.
fn what_to_look_at(document: &str) -> &str {
    let (_, chapter) = document.split_once("\n## What to look at when").unwrap();
    chapter.split("\n## ").next().unwrap()
}

/// Returns the commands in the blocks of a page.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|block| block.split("\n```").next());
    blocks.flat_map(str::lines).map(|line| line.replace("runuser -u lictor -- ", "")).collect()
}

/// Returns a command as it is here. The log is the server's own.
fn here(command: &str, server: &Server) -> String {
    let folder = server.folder().display().to_string();
    let log = command.split_once("journalctl -u lictor -o cat").map(|(_, rest)| {
        let pipe = rest.split_once('|').map(|(_, pipe)| format!("| {pipe}")).unwrap_or_default();
        format!("cat {folder}/server.log {pipe}")
    });
    let command = log.unwrap_or_else(|| command.to_owned());
    let command = command.replace("127.0.0.1:4891", &addresses(server, "metrics and health")[0].to_string());
    let command = command.replace("/etc/lictor/certs/*.pem", &format!("{folder}/server.pem"));
    let command = command.replace("/etc/lictor", &folder).replace("NAME", "hostile");
    let command = command.replace("--as CLIENT COMMAND ARGUMENT", "--as tester echo hello");
    let command = command.replace("--diff OLD", &format!("--diff {folder}/server.toml"));
    command.replace("/path/to/the/config/of/the/other", &format!("{folder}/server.toml"))
}

#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
fn has_jq() -> bool {
    let has = Command::new("jq").arg("--version").output().is_ok();
    if !has {
        println!("SKIPPED: there is no `jq`, by which pages read the log");
    }
    has
}

#[test]
fn each_command_of_a_page_says_something_of_a_server_in_trouble() {
    let (server, operator, _) = start(eventful());
    operator.write(server.folder(), "operator");
    trouble(&server, &operator);
    eventually("the log", || server.printed().contains("commands not logged one by one").then_some(()));
    let folder = program().parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let pin = format!("sha256:{}", Identity::read(server.folder(), "server").sha256());
    let (jq, mut tried, mut faults) = (has_jq(), 0, Vec::new());
    let pages = fs::read_dir(root().join("docs/runbooks")).unwrap().map(|page| page.unwrap().path());
    for page in pages.chain([root().join(OPERATIONS)]).collect::<Vec<PathBuf>>() {
        let text = fs::read_to_string(&page).unwrap();
        let text = if page.ends_with(OPERATIONS) { what_to_look_at(&text) } else { &text };
        for command in commands(text) {
            if !TRIED.iter().any(|begin| command.starts_with(begin)) || command.contains("| jq") && !jq {
                continue;
            }
            let mut shell = at_home("bash".as_ref(), server.folder());
            shell.args(["-c", &here(&command, &server)]).env("PATH", &path);
            shell.env("LICTOR_PIN", &pin);
            shell.env("LICTOR_SERVER", server.address().to_string()).env("LICTOR_CERT", "operator.pem");
            let finished = finish(&mut shell);
            let is_said = finished.stderr.contains("jq: ") || finished.stderr.contains("lictor: ");
            if finished.code != Some(0) || is_said {
                faults.push(format!("{}: {command}: {finished:?}", page.display()));
            }
            tried += 1;
        }
    }
    assert!(faults.is_empty() && tried > 70, "{tried} tried; {}", faults.join("\n"));
}

/// The fields that pages read are in the log, so that none of their tables is empty.
#[test]
fn what_pages_read_from_the_log_is_there() {
    let (server, operator, _) = start(eventful());
    trouble(&server, &operator);
    for (message, fields) in [
        ("plugin broke off", &["plugin", "command", "client", "reason"][..]),
        ("stopped at the deadline", &["command", "client", "deadline", "doing"]),
        ("refused", &["peer", "reason"]),
        ("handshake failed", &["error", "advice"]),
        ("a host function failed", &["plugin", "error", "advice"]),
    ] {
        let entry = server.wait_for_log(message, |entry| entry.message() == message);
        for field in fields {
            assert!(entry.text(field).is_some(), "{message} has no {field}: {entry:?}");
        }
    }
}
