//! Documents match the program: their transcripts are replayed against a real server.
//!
//! Each document has its own folder, made by `lictor init`, and its own server, which runs there. Blocks are
//! replayed from top to bottom. The words after their fence tell them apart:
//!
//! - `console`: a shell's transcript. A line after `$ ` is run; it continues in the next line if it ends with
//!   a backslash. The text up to the next one is its exact output, standard error included. If lines follow
//!   `> `, each is typed once the text before it was printed; standard error is then left out, and the
//!   program is ended at its last line.
//! - `transcript`: bytes on the wire. docs/protocol.md describes the notation.
//! - a language and a file's name (`python client.py`): the file is put into the folder.
//!
//! `…` stands for any text in a line, and for any lines if it is alone in one. 4888 stands for the server's
//! port.

use std::fs;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use testkit::client::Connection;
use testkit::eventually;
use testkit::tools::{Conversation, finish, lictor, text_of};

/// The port in the documents.
const TOLD_PORT: &str = "4888";

#[test]
fn the_readme_is_true() {
    replay("README.md", &["console"]);
}

#[test]
fn the_protocols_description_is_true() {
    replay("docs/protocol.md", &["console", "transcript", "python"]);
}

#[test]
fn the_operators_guide_is_true() {
    replay("docs/operations.md", &["console"]);
}

#[test]
fn the_plugin_authors_guide_is_true() {
    replay("docs/plugins.md", &["console"]);
}

#[test]
fn every_document_with_a_transcript_is_replayed() {
    let this = include_str!("documents.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs")];
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let blocks = blocks(&text_of(&path));
        if blocks.iter().any(|block| matches!(block.kind(), "console" | "transcript")) {
            seen += 1;
            assert!(
                this.contains(&format!("replay(\"{name}\"")),
                "{name} is not replayed: add a test for it above"
            );
        }
    }
    assert!(seen > 0, "no document has a transcript");
}

/// Replays a whole document, which must contain blocks of these kinds.
fn replay(document: &str, kinds: &[&str]) {
    let blocks = blocks(&text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join(document)));
    for kind in kinds {
        assert!(
            blocks.iter().any(|block| block.kind() == *kind),
            "{document} has no block of the kind {kind}"
        );
    }
    let site = Site::new();
    let mut failed = Vec::new();
    for block in &blocks {
        let replayed = catch_unwind(AssertUnwindSafe(|| match (block.kind(), block.file()) {
            ("console", _) => console(&site, &block.lines),
            ("transcript", _) => conversations(&site, &block.lines),
            (_, Some(file)) => site.write(file, &block.lines.join("\n")),
            _ => {}
        }));
        if replayed.is_err() {
            failed.push(format!("{document}:{}", block.line));
        }
    }
    assert!(failed.is_empty(), "blocks that are not true: {}", failed.join(", "));
}

/// A fenced block.
struct Block {
    /// Line of its fence, from 1.
    line: usize,
    /// Words after the fence.
    words: Vec<String>,
    lines: Vec<String>,
}

impl Block {
    fn kind(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn file(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(document.lines()) {
        match line.strip_prefix("```") {
            Some(words) if !is_open => {
                let words = words.split_whitespace().map(str::to_owned).collect();
                blocks.push(Block { line: number, words, lines: Vec::new() });
                is_open = true;
            }
            Some(_) => is_open = false,
            None if is_open => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    assert!(!is_open, "the last block does not end");
    blocks
}

/// A folder made by `lictor init`, and a server that runs in it.
struct Site {
    folder: TempDir,
    address: SocketAddr,
    server: Child,
}

impl Site {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let made = finish(lictor(folder.path()).arg("init"));
        assert_eq!(made.code, Some(0), "{made:?}");
        // The system chooses the port, which is then written into the config that `lictor call` reads.
        let config = fs::read_to_string(folder.path().join("server.toml")).unwrap();
        let told = format!("127.0.0.1:{TOLD_PORT}");
        assert!(config.contains(&told), "{config}");
        fs::write(folder.path().join("any-port.toml"), config.replace(&told, "127.0.0.1:0")).unwrap();
        let log = folder.path().join("any-port.log");
        let mut serve = lictor(folder.path());
        serve.args(["serve", "--config", "any-port.toml"]).stdin(Stdio::null()).stdout(Stdio::null());
        let server = serve.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut site = Self { folder, address: SocketAddr::from(([127, 0, 0, 1], 0)), server };
        site.address = eventually("the server to listen", || {
            assert!(site.server.try_wait().unwrap().is_none(), "{}", text_of(&log));
            listening(&text_of(&log))
        });
        site.write("server.toml", &config);
        site
    }

    /// Returns `text` with the server's port in it.
    fn with_port(&self, text: &str) -> String {
        text.replace(TOLD_PORT, &self.address.port().to_string())
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), self.with_port(text) + "\n").unwrap();
    }

    /// Prepares a shell that finds `lictor`.
    fn shell(&self, script: &str) -> Command {
        let like = lictor(self.folder.path());
        let programs = Path::new(like.get_program()).parent().unwrap();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&others));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(self.with_port(script)).current_dir(self.folder.path());
        for (name, value) in like.get_envs() {
            match value {
                // Python may be installed below the user's home.
                _ if name == "HOME" => {}
                Some(value) => drop(shell.env(name, value)),
                None => drop(shell.env_remove(name)),
            }
        }
        shell.env("PATH", std::env::join_paths(all).unwrap());
        shell
    }

    /// Opens a connection of the client `dev`, after the greeting.
    fn connect(&self) -> Connection {
        let file = |name: &str| self.folder.path().join("certs").join(name);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("server.pem")).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_file(file("dev.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("dev.key")).unwrap();
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)
                .unwrap();
        let mut connection = Connection::open_with(self.address, Arc::new(config)).unwrap();
        assert_eq!(connection.read_reply(), "OK", "the greeting");
        connection
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns the address from the log's entry about listening.
fn listening(log: &str) -> Option<SocketAddr> {
    let entries = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut addresses = entries.filter(|entry| entry["message"] == "listening");
    addresses.find_map(|entry| entry["address"].as_str()?.parse().ok())
}

/// Runs the commands of a block, each with the text below it.
fn console(site: &Site, lines: &[String]) {
    let mut rest = lines;
    assert!(rest.first().is_some_and(|line| line.starts_with("$ ")), "a console block begins with a command");
    while let Some(first) = rest.first() {
        let mut command = first.strip_prefix("$ ").unwrap().to_owned();
        rest = &rest[1..];
        while command.ends_with('\\') {
            command.push('\n');
            command.push_str(&rest[0]);
            rest = &rest[1..];
        }
        let end = rest.iter().position(|line| line.starts_with("$ ")).unwrap_or(rest.len());
        let (below, further) = rest.split_at(end);
        rest = further;
        if below.iter().any(|line| typed(line).is_some()) {
            converse(site, &command, below);
        } else {
            run(site, &command, below);
        }
    }
}

fn run(site: &Site, command: &str, wanted: &[String]) {
    let finished = finish(&mut site.shell(&format!("exec 2>&1\n{command}")));
    let printed = finished.stdout.replace(&site.address.port().to_string(), TOLD_PORT);
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let wanted: Vec<&str> = wanted.iter().map(|line| line.trim_end()).collect();
    assert!(
        fit(&printed, &wanted),
        "`{command}` prints\n{}\nand not\n{}",
        printed.join("\n"),
        wanted.join("\n")
    );
}

fn converse(site: &Site, command: &str, lines: &[String]) {
    let mut program = Conversation::with(&mut site.shell(&format!("exec {command}")));
    for line in lines {
        match typed(line) {
            Some(text) => program.say(&format!("{text}\n")),
            None => {
                let printed = program.hear("\n");
                assert!(
                    fits(printed.trim_end(), line.trim_end()),
                    "`{command}` prints {printed:?} and not {line:?}"
                );
            }
        }
    }
}

/// Returns the text that a line of a console block types.
fn typed(line: &str) -> Option<&str> {
    if line == ">" { Some("") } else { line.strip_prefix("> ") }
}

/// Replays the connections of a block, which are separated by empty lines.
fn conversations(site: &Site, lines: &[String]) {
    let conversations = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
    assert!(conversations.map(|lines| conversation(site.connect(), lines)).count() > 0, "an empty block");
}

fn conversation(mut connection: Connection, lines: &[String]) {
    for line in lines {
        if line == "closed" {
            return connection.assert_closed();
        }
        let (sign, text) = line.split_once(' ').unwrap_or((line, ""));
        match sign {
            ">" => connection.send(format!("{text}\r\n")),
            ">|" => connection.send(text),
            ">\\" => connection.send(unescaped(text)),
            "<" => {
                let got = read_line(&mut connection);
                assert!(fits(&got, text), "the server sends {got:?} and not {text:?}");
            }
            "<|" => assert_eq!(String::from_utf8_lossy(&connection.read_bytes(text.len())), text),
            _ => panic!("no step: {line:?}"),
        }
    }
    assert_eq!(connection.ask("@ping"), "pong", "nothing further is sent, and the connection stays usable");
}

fn read_line(connection: &mut Connection) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(connection.read_bytes(1));
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).unwrap()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = text.split('\\');
    bytes.extend(parts.next().unwrap_or_default().as_bytes());
    while let Some(part) = parts.next() {
        let (byte, length) = match part.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'x') => (u8::from_str_radix(&part[1..3], 16).unwrap(), 3),
            Some(_) => panic!("no escape: \\{part}"),
            None => {
                bytes.push(b'\\');
                bytes.extend(parts.next().unwrap_or_default().as_bytes());
                continue;
            }
        };
        bytes.push(byte);
        bytes.extend(&part.as_bytes()[length..]);
    }
    bytes
}

/// Returns true if lines match those wanted.
fn fit(lines: &[&str], wanted: &[&str]) -> bool {
    match (lines, wanted) {
        (_, ["…"]) => true,
        (_, ["…", rest @ ..]) => (0..=lines.len()).any(|skipped| fit(&lines[skipped..], rest)),
        ([line, lines @ ..], [first, rest @ ..]) => fits(line, first) && fit(lines, rest),
        (lines, wanted) => lines.is_empty() && wanted.is_empty(),
    }
}

/// Returns true if a line matches the wanted one, with each `…` for any text.
fn fits(line: &str, wanted: &str) -> bool {
    let Some((begin, rest)) = wanted.split_once('…') else { return line == wanted };
    let Some(line) = line.strip_prefix(begin) else { return false };
    line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| fits(&line[at..], rest))
}

#[test]
fn documents_are_read_as_meant() {
    let document = "a\n```console\n$ b\n```\n```python c.py\nd\n\ne\n```\n";
    let blocks = blocks(document);
    let heads: Vec<_> = blocks.iter().map(|block| (block.line, block.kind(), block.file())).collect();
    assert_eq!(heads, [(2, "console", None), (5, "python", Some("c.py"))]);
    assert_eq!(blocks[1].lines, ["d", "", "e"]);
    assert!(
        fits("sha256 abc", "sha256 …") && fits("a b c", "a…c") && !fits("a b c", "a…d") && !fits("ab", "a")
    );
    assert!(fit(&["a", "b", "c"], &["a", "…", "c"]) && fit(&["a"], &["a", "…"]) && !fit(&["a", "b"], &["a"]));
    assert_eq!(unescaped(r"a\tb\\c\xff"), b"a\tb\\c\xff");
}
