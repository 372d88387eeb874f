//! Files that a config includes, edited by `lictor client add|rm --to`: made, changed and removed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use testkit::certs::Identity;
use testkit::tools::{finish, lictor};

use crate::client_verbs::{client, setup, start, text};

#[test]
fn included_files_are_edited_too() {
    let setup = setup().top("include = [\"conf.d/*.toml\"]").server("listen = [\"127.0.0.1:1\"]");
    setup.write();
    let (folder, main) = (setup.folder(), text(setup.folder()));
    fs::create_dir(folder.join("conf.d")).unwrap();
    let ci = folder.join("conf.d/ci.toml");
    let desk = Identity::new("desk");
    let before =
        format!("# by hand\n[clients.desk]\nthumbprints = [\"{}\"]\ncommands = [\"echo\"]\n", desk.sha256());
    fs::write(&ci, &before).unwrap();
    let there = client(folder, &["add", "desk", "--yes"]);
    assert!(there.stderr.contains("conf.d/ci.toml has a client desk already, in line 2"), "{there:?}");
    let wrong = client(folder, &["add", "x", "--to", "boss.pem", "--yes"]);
    let words = "whose files are server.toml, conf.d/ci.toml; it includes conf.d/*.toml: choose such a name";
    assert!(wrong.stderr.contains(words), "{wrong:?}");
    fs::write(
        &ci,
        format!("{before}\n[clients.desk.limits]\nconnections = 2\n")
            .replace("commands", "expires = 2099-01-31T00:00:00Z\ncommands"),
    )
    .unwrap();
    let listed = client(folder, &["list"]);
    assert!(
        listed.stdout.contains("; commands \"echo\"; limits connections 2; expires 2099-01-31T00:00:00Z\n"),
        "{listed:?}"
    );
    let json = client(folder, &["list", "--json"]);
    assert!(json.stdout.contains(r#""limits":{"connections":2}"#), "{json:?}");
    assert!(json.stdout.contains(r#""expires":"2099-01-31T00:00:00Z""#), "{json:?}");
    assert!(json.stdout.contains(r#""place":"conf.d/ci.toml:2""#), "{json:?}");
    fs::write(&ci, &before).unwrap();
    let added = client(folder, &["add", "ci", "--to", "conf.d/ci.toml", "--role", "all", "--yes"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let lines = "\n[clients.ci]\ncertificates = [\"../certs/ci.pem\"]\nroles = [\"all\"]\n";
    assert_eq!(fs::read_to_string(&ci).unwrap(), before.clone() + lines);
    assert_eq!(finish(lictor(folder).arg("check")).code, Some(0));

    // The pin is added where the old one is.
    desk.write(&folder.join("certs"), "desk");
    let renewed = finish(lictor(folder).args(["cert", "renew", "desk"]));
    assert!(renewed.stdout.contains("conf.d/ci.toml: `clients.desk.thumbprints` has"), "{renewed:?}");
    assert_eq!(client(folder, &["rm", "desk", "--yes"]).code, Some(0));
    assert_eq!(fs::read_to_string(&ci).unwrap(), lines.trim_start());
    let unknown = client(folder, &["rm", "desk", "--yes"]);
    assert!(unknown.stderr.contains("server.toml has no client desk; it has boss, ci"), "{unknown:?}");
    assert_eq!(text(folder), main);
    // What a link leads to stays, and so does the link.
    fs::rename(&ci, folder.join("ci.real")).unwrap();
    symlink("../ci.real", &ci).unwrap();
    assert_eq!(client(folder, &["rm", "ci", "--yes"]).code, Some(0));
    assert_eq!(fs::read_to_string(&ci).unwrap(), "");
}

#[test]
fn an_included_file_comes_with_its_first_client_and_goes_with_its_last() {
    let server = start(setup().top("include = [\"conf.d/*.toml\"]"));
    let (folder, main) = (server.folder(), text(server.folder()));
    let late = folder.join("conf.d/late.toml");
    let add = ["add", "late", "--command", "absent", "--yes", "--to"];
    let add_to = |file: &str| client(folder, &[&add[..], &[file]].concat());
    let refused = add_to("conf.d/late.toml");
    assert!(refused.code == Some(2) && refused.stderr.contains("make it: `mkdir conf.d`"), "{refused:?}");
    fs::create_dir(folder.join("conf.d")).unwrap();
    for wrong in ["late.toml", "conf.d/late.txt", "conf.d/.late.toml"] {
        let refused = add_to(wrong);
        assert!(
            refused.code == Some(2)
                && refused.stderr.contains("it includes conf.d/*.toml: choose such a name"),
            "{refused:?}"
        );
    }
    fs::set_permissions(server.config(), fs::Permissions::from_mode(0o640)).unwrap();
    let added = add_to("./conf.d/late.toml");
    assert!(added.code == Some(0) && added.stdout.contains("conf.d/late.toml (a new file)\n"), "{added:?}");
    // A command that nobody has, told before the certificate is made and not again after it.
    assert_eq!(added.stderr.matches("`absent`, which no plugin serves").count(), 1, "{added:?}");
    assert_eq!(
        fs::read_to_string(&late).unwrap(),
        "[clients.late]\ncertificates = [\"../certs/late.pem\"]\ncommands = [\"absent\"]\n"
    );
    assert_eq!(fs::metadata(&late).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(added.stdout.contains("live     added    clients.late"), "{added:?}");
    let faulty = client(folder, &["add", "x", "--role", "no", "--to", "conf.d/x.toml", "--yes"]);
    assert!(faulty.code == Some(2) && faulty.stderr.contains("a role that does not exist"), "{faulty:?}");
    assert!(!folder.join("conf.d/x.toml").exists());

    let removed = client(folder, &["rm", "late", "--yes"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    for words in ["conf.d/late.toml is removed, as nothing is left in it", "live     removed  clients.late"] {
        assert!(removed.stdout.contains(words), "{words}: {removed:?}");
    }
    assert!(!late.exists() && text(folder) == main);

    // A config that includes nothing.
    server.edit(|text| text.replace("include = [\"conf.d/*.toml\"]", ""));
    let refused = add_to("conf.d/late.toml");
    assert!(refused.stderr.contains("write `include = [\"conf.d/*.toml\"]` at the top"), "{refused:?}");
}

#[test]
fn a_path_goes_up_only_where_that_leads_to_the_folder_of_the_config() {
    let setup = setup().top("include = [\"conf.d/*.toml\"]").server("listen = [\"127.0.0.1:1\"]");
    setup.write();
    let folder = setup.folder();
    fs::create_dir_all(folder.join("a/conf.d")).unwrap();
    symlink("a/conf.d", folder.join("conf.d")).unwrap();
    let added = client(folder, &["add", "late", "--to", "conf.d/late.toml", "--yes"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let certificate = folder.join("certs/late.pem").display().to_string();
    let written = fs::read_to_string(folder.join("conf.d/late.toml")).unwrap();
    assert!(written.contains(&format!("certificates = [\"{certificate}\"]")), "{written}");
}
