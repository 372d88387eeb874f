//! Reloads that fail, and the events that retry them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Instant;

use testkit::certs::Identity;
use testkit::components::Minimal;
use testkit::eventually;
use testkit::server::{Server, Setup};

use super::{SOON, kernels, not_reloaded, pem, section, write};

/// A failing reload, and a remedy without a change of the config.
struct Failing {
    name: &'static str,
    make: fn(&Path),
    edit: fn(&str) -> String,
    mend: fn(&Path),
}

fn with_who(config: &str) -> String {
    config.to_owned() + &section("who", "late/who.pem")
}

fn with_guest(config: &str) -> String {
    config.to_owned() + "[plugins.guest]\ncomponent = \"late/guest.wasm\"\ncommands = [\"late\"]\n"
}

fn with_folder(config: &str) -> String {
    let granted = "[plugins.echo]\ngrants = { directories = { \"/late\" = \"late\" } }";
    config.replace("[plugins.echo]", granted)
}

const FAILING: &[Failing] = &[
    Failing {
        name: "a folder and a file that come later",
        make: |_| {},
        edit: with_who,
        mend: |at| write(at.join("who.pem"), &pem(&Identity::new("who"))),
    },
    Failing {
        name: "the end of a link that comes later",
        make: |at| {
            fs::create_dir(at).unwrap();
            symlink("end.pem", at.join("who.pem")).unwrap();
        },
        edit: with_who,
        mend: |at| write(at.join("end.pem"), &pem(&Identity::new("who"))),
    },
    Failing {
        name: "a component that comes later",
        make: |_| {},
        edit: with_guest,
        mend: |at| {
            fs::create_dir(at).unwrap();
            Minimal::new(&["late"]).write(at, "guest");
        },
    },
    Failing {
        name: "a component that is none",
        make: |at| write(at.join("guest.wasm"), "none"),
        edit: with_guest,
        mend: |at| drop(Minimal::new(&["late"]).write(at, "guest")),
    },
    Failing {
        name: "a component that others may write to",
        make: |at| {
            fs::create_dir(at).unwrap();
            let component = Minimal::new(&["late"]).write(at, "guest");
            fs::set_permissions(component, Permissions::from_mode(0o666)).unwrap();
        },
        edit: with_guest,
        mend: |at| fs::set_permissions(at.join("guest.wasm"), Permissions::from_mode(0o644)).unwrap(),
    },
    Failing {
        name: "a granted folder that comes later",
        make: |_| {},
        edit: with_folder,
        mend: |at| fs::create_dir(at).unwrap(),
    },
];

#[test]
fn a_reload_that_failed_is_tried_again_when_anything_changes_that_it_named() {
    thread::scope(|scope| {
        for kernel in kernels() {
            scope.spawn(move || {
                let server = kernel.start(Setup::new().master("tester", &Identity::new("tester")).echo());
                FAILING.iter().for_each(|failing| is_mended(&server, failing));
            });
        }
    });
}

fn is_mended(server: &Server, Failing { name, make, edit, mend }: &Failing) {
    let (late, text) = (server.folder().join("late"), fs::read_to_string(server.config()).unwrap());
    let (failed, reloaded) = (not_reloaded(server), server.happened("reloaded"));
    make(&late);
    server.edit(|text| edit(&text));
    eventually(name, || (not_reloaded(server) > failed).then_some(()));
    mend(&late);
    let mended = Instant::now();
    eventually(name, || (server.happened("reloaded") > reloaded).then_some(()));
    assert!(mended.elapsed() < SOON, "{name}: {:?}", mended.elapsed());
    // Restored for the next case.
    server.edit(|_| text);
    eventually(name, || (server.happened("reloaded") > reloaded + 1).then_some(()));
    fs::remove_dir_all(late).unwrap();
}
