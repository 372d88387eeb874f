//! Volumes: all files of a config at once, and another file system mounted over one.

use std::fs::{self, rename};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use testkit::certs::{Authority, Identity};
use testkit::components::Minimal;
use testkit::eventually;
use testkit::server::Setup;
use testkit::tools::{finish, s_client};

use super::{Kernel, is_admitted, not_reloaded, pem, section, skipped, write};

/// Replaces the bytes of the file `name` in the volume in `folder`, as Kubernetes does it.
fn swap(folder: &Path, name: &str, bytes: &[u8]) {
    let before = fs::read_link(folder.join("..data")).unwrap();
    let after = format!("{}1", before.display());
    fs::create_dir(folder.join(&after)).unwrap();
    for file in fs::read_dir(folder.join(&before)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(&after).join(file.file_name())).unwrap();
    }
    fs::write(folder.join(&after).join(name), bytes).unwrap();
    symlink(&after, folder.join("..data_tmp")).unwrap();
    rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// As in a volume of Kubernetes, where all files are links through a single one.
#[test]
fn every_kind_of_file_is_seen_in_a_mounted_volume() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let uri = "spiffe://example.org/laptop";
    let guest = |letter: char| {
        let answer = format!("(i32.store8 (i32.const 30016) (i32.const {}))", u32::from(letter));
        Minimal::new(&["version"]).handling_by(&answer).bytes()
    };
    let tester = Identity::new("tester");
    let setup = Setup::new()
        .master("tester", &tester)
        .section("[identity]\nauthorities = [\"ca.pem\"]\nrevocation_lists = [\"ca.crl\"]")
        .section(&format!("[clients.laptop]\nuris = [\"{uri}\"]\ncommands = [\"version\"]"));
    let component = setup.folder().join("guest.wasm");
    let setup = setup.plugin("guest", &component, &["version"], "");
    let volume = |name: &str| setup.folder().join(name);
    fs::create_dir(volume("..0")).unwrap();
    symlink("..0", volume("..data")).unwrap();
    for name in ["server.pem", "server.key"] {
        rename(volume(name), volume("..0").join(name)).unwrap();
    }
    write(volume("..0/ca.pem"), &old.pem());
    write(volume("..0/ca.crl"), &old.revoking(&[]));
    fs::write(volume("..0/guest.wasm"), guest('A')).unwrap();
    for name in ["server.toml", "server.pem", "server.key", "ca.pem", "ca.crl", "guest.wasm"] {
        symlink(format!("..data/{name}"), volume(name)).unwrap();
    }
    let server = Kernel::Telling.start(setup);
    let swap = |name: &str, bytes: &[u8]| swap(server.folder(), name, bytes);
    let reloaded = |times: u64| {
        eventually("the reload", || (server.happened("reloaded") == times).then_some(()));
    };

    swap("guest.wasm", &guest('B'));
    reloaded(1);
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("version"), "Bk");
    swap("ca.pem", new.pem().as_bytes());
    swap("ca.crl", new.revoking(&[]).as_bytes());
    let laptop = new.issue("laptop", uri);
    eventually("the authority", || is_admitted(&server, &laptop).then_some(()));
    let text = fs::read_to_string(server.config()).unwrap();
    let other = Identity::new("other");
    let config = format!("{text}[clients.other]\nthumbprints = [\"{}\"]\ncommands = []\n", other.sha256());
    swap("server.toml", config.as_bytes());
    eventually("the client", || is_admitted(&server, &other).then_some(()));

    let before = server.happened("reloaded");
    let renewed = tempfile::tempdir().unwrap();
    let (certificate, key) = Identity::of_server().write(renewed.path(), "server");
    let certificate = fs::read_to_string(certificate).unwrap();
    swap("server.pem", certificate.as_bytes());
    eventually("a certificate without its key", || (not_reloaded(&server) == 1).then_some(()));
    swap("server.key", &fs::read(key).unwrap());
    reloaded(before + 1);
    tester.write(server.folder(), "tester");
    let shown = finish(&mut s_client(server.address(), server.folder(), "tester", &[])).stdout;
    assert!(shown.contains(certificate.trim()), "{shown}");
}

#[test]
fn a_file_system_that_is_mounted_over_a_folder_is_seen() {
    let [before, after] = ["who", "who"].map(Identity::new);
    let setup = Setup::new().section(&section("who", "volume/who.pem"));
    for (folder, identity) in [("volume", &before), ("other", &after)] {
        write(setup.folder().join(folder).join("who.pem"), &pem(identity));
    }
    let server = Kernel::Telling.start(setup);
    let process = server.process().to_string();
    let mounted = Command::new("nsenter")
        .args(["--preserve-credentials", "-U", "-m", "-t", &process, "mount", "--bind"])
        .args([server.folder().join("other"), server.folder().join("volume")])
        .output();
    if !mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
        skipped(&format!("nothing can be mounted where the server is: {mounted:?}"));
        return;
    }
    eventually("the other file", || is_admitted(&server, &after).then_some(()));
}
