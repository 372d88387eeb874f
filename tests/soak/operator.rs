//! The operator, which changes the server while it serves.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::certs::Identity;
use testkit::components::{Minimal, bomb};
use testkit::peer::Peer;

use crate::{Shift, Soak};

/// Makes a component that answers with this letter and a `k`, and replaces the previous one.
pub fn version(folder: &Path, letter: char) -> PathBuf {
    let instructions = format!("(i32.store8 (i32.const 30016) (i32.const {}))", u32::from(letter));
    Minimal::new(&["version"]).handling_by(&instructions).write(folder, "guest")
}

/// One in this many reloads names a component that can't be compiled.
const RELOADS_PER_BOMB: u64 = 10;

/// Swaps a plugin's version and the server's certificate, adds or removes a client, and reloads; everything
/// applies at once. Disconnects one of its own connections. Now and then names a component that can't be
/// compiled, which changes nothing.
pub fn reload(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.operator);
    let component = bomb(soak.server.folder());
    let with_bomb = format!("[plugins.bomb]\ncomponent = {component:?}\n");
    shift.each(Duration::from_secs(2), |round| {
        if round % RELOADS_PER_BOMB == 1 {
            soak.server.edit(|text| text + &with_bomb);
            let told = connection.ask_framed("@reload");
            assert_eq!(told.failure(), ("conflict", "failed"));
            assert!(told.message.contains("it takes more than compile_"), "{told:?}");
            soak.server.edit(|text| text.replace(&with_bomb, ""));
        }
        let is_even = soak.done()[shift.role].is_multiple_of(2);
        let letter = if is_even { 'B' } else { 'A' };
        let (server, unrelated) = (Identity::of_server(), Identity::new("unrelated"));
        version(soak.server.folder(), letter);
        server.write(soak.server.folder(), "server");
        let pin = unrelated.sha256();
        let client = format!("[clients.unrelated]\nthumbprints = [\"{pin}\"]\ncommands = [\"echo\"]\n");
        soak.server.edit(|text| {
            let text = text.split("[clients.unrelated]").next().unwrap_or_default().to_owned();
            if is_even { text + &client } else { text }
        });
        let told = connection.ask_framed("@reload");
        for changed in ["plugins.guest.component", "clients.unrelated"] {
            assert!(told.text().contains(changed), "{told:?}");
        }
        assert_eq!(connection.ask("version"), format!("{letter}k"));
        if is_even {
            assert_eq!(soak.server.connect(&unrelated).ask("echo in"), "in");
        }
        let mut other = Peer::admitted(soak.server.address(), &soak.operator);
        assert_eq!(other.server_certificate(), Some(server.certificate()), "handshakes from now on show it");
        let clients = connection.ask("@clients");
        let own = clients.lines().skip_while(|line| !line.starts_with("operator  ")).skip(1);
        let newest = own.take_while(|line| line.starts_with("  c")).last().expect("it is there");
        let newest = newest.split_whitespace().next().expect("a connection has a name");
        assert_eq!(connection.ask(&format!("@kick {newest}")), format!("ending {newest} of operator"));
        let told = other.read_to_end();
        assert!(told.contains("ended by an operator"), "{told:?}");
        soak.tally.answers.fetch_add(5, Ordering::Relaxed);
    });
}
