//! The sources of a server, a client and trust.

use std::fs;

use super::*;
use crate::cli::Exit;
use crate::cli::cert::issue::{Files, Role, issue};
use crate::identity::pem;

fn pair(folder: &Path, name: &str) -> Files {
    let files = Files::of(folder, &name.parse().unwrap());
    issue(&name.parse().unwrap(), &Role::Client { names: vec![] }, 1).unwrap().write(&files).unwrap();
    files
}

/// A folder with a server.toml that listens on `listen`, and two clients, the first without its key.
fn folder_with_config(listen: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certs");
    pair(&certificates, "server");
    fs::remove_file(pair(&certificates, "away").key).unwrap();
    pair(&certificates, "here");
    let config = folder.path().join("server.toml");
    let text = format!(
        "[server]\nlisten = [\"{listen}\"]\n\
         certificate = \"certs/server.pem\"\nprivate_key = \"certs/server.key\"\n\
         [clients.a]\ncertificates = [\"certs/away.pem\"]\ncommands = [\"@ping\"]\n\
         [clients.b]\ncertificates = [\"certs/here.pem\"]\ncommands = [\"@ping\"]\n"
    );
    fs::write(&config, text).unwrap();
    (folder, config)
}

fn with_config(config: &Path) -> TargetOptions {
    TargetOptions::of_config(config)
}

#[test]
fn a_config_file_names_server_trust_and_client() {
    let (folder, config) = folder_with_config("0.0.0.0:5001");
    let target = with_config(&config).resolve(Wanted::Any).unwrap();
    assert_eq!(target.address.to_string(), "127.0.0.1:5001");
    assert_eq!(target.config.as_deref(), Some(&*config));
    let server = fs::read(folder.path().join("certs/server.pem")).unwrap();
    let server = Thumbprint::sha256_of(&pem::certificates(&server).unwrap()[0]);
    let TrustSource::Given(Trust::Pinned(pins), words) = target.trust else { panic!("{:?}", target.trust) };
    assert_eq!(pins, [server]);
    assert!(words.contains("server.pem"), "{words}");
    let loaded = load_named_config(&config).unwrap();
    assert!(client_of(&loaded.config, Wanted::Any).unwrap().ends_with("certs/here.pem"));
}

#[test]
fn every_address_that_means_all_is_this_machine() {
    for (listen, address) in [("[::]:9", "[::1]:9"), ("10.1.2.3:9", "10.1.2.3:9")] {
        let (_folder, config) = folder_with_config(listen);
        assert_eq!(with_config(&config).resolve(Wanted::Any).unwrap().address.to_string(), address);
    }
    let (_folder, config) = folder_with_config("127.0.0.1:0");
    assert!(with_config(&config).resolve(Wanted::Any).unwrap_err().message().contains("--server"));
}

#[test]
fn options_go_before_the_config_file() {
    let (folder, config) = folder_with_config("127.0.0.1:5001");
    let other = pair(folder.path(), "other");
    let pin = Thumbprint::sha1_of(b"x");
    let options = TargetOptions {
        server: Some("elsewhere:1".parse().unwrap()),
        cert: Some(other.certificate.clone()),
        pin: Some(pin),
        ..with_config(&config)
    };
    let target = options.resolve(Wanted::Any).unwrap();
    assert_eq!(target.address.to_string(), "elsewhere:1");
    assert!(matches!(target.trust, TrustSource::Given(Trust::Pinned(pins), _) if pins == [pin]));
    let options = TargetOptions { ca: Some(other.certificate), ..with_config(&config) };
    assert!(matches!(
        options.resolve(Wanted::Any).unwrap().trust,
        TrustSource::Given(Trust::Authorities(_), _)
    ));
}

#[test]
fn what_is_missing_is_said() {
    let (folder, config) = folder_with_config("127.0.0.1:5001");
    let server = || TargetOptions { server: Some("a".parse().unwrap()), ..TargetOptions::default() };
    let pin = Some(Thumbprint::sha1_of(b"x"));
    fs::remove_file(folder.path().join("certs/here.key")).unwrap();
    for (options, words) in [
        (with_config(&config), "away.key"),
        (with_config(Path::new("no/such.toml")), "there is no no/such.toml"),
        (TargetOptions { pin, ..server() }, "--cert FILE"),
        (TargetOptions { pin, key: Some("k".into()), ..server() }, "--key needs --cert"),
        (
            TargetOptions { pin, cert: Some("no/such.pem".into()), ..server() },
            "cannot read the certificate no/such.pem",
        ),
        (TargetOptions { ca: Some("no/such.pem".into()), ..server() }, "as the certificates of authorities"),
    ] {
        let failure = options.resolve(Wanted::Any).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.message().contains(words), "{}", failure.message());
    }
}

#[test]
fn clients_that_are_switched_off_are_named_and_a_key_may_be_in_the_certificates_file() {
    let (folder, config) = folder_with_config("127.0.0.1:5001");
    let at = |name: &str| folder.path().join("certs").join(name);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[clients.b]", "[clients.b]\nenabled = false")).unwrap();
    let failure = with_config(&config).resolve(Wanted::Any).unwrap_err();
    assert!(failure.message().contains("away.key"), "{}", failure.message());
    fs::write(&config, text.replace("certificates", "enabled = false\ncertificates")).unwrap();
    let failure = with_config(&config).resolve(Wanted::Any).unwrap_err();
    let words = "is switched off by `enabled = false`: `a`, `b`";
    assert!(failure.message().contains(words), "{}", failure.message());

    fs::write(&config, text).unwrap();
    let both = fs::read_to_string(at("here.pem")).unwrap() + &fs::read_to_string(at("here.key")).unwrap();
    fs::write(at("here.pem"), both).unwrap();
    fs::remove_file(at("here.key")).unwrap();
    with_config(&config).resolve(Wanted::Any).unwrap();
}

#[test]
fn a_folder_that_may_not_be_entered_is_not_taken_for_one_without_a_config() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        // Root can enter every folder; an overlong name cannot be looked up either.
        let long = "x".repeat(300);
        assert!(!is_missing(Path::new(&long)) && is_missing(Path::new("no/such")));
        return;
    }
    let (folder, config) = folder_with_config("127.0.0.1:5001");
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    assert!(!is_missing(&config));
    mode(0o700);
}

#[test]
fn a_client_that_may_run_the_command_is_chosen() {
    let (folder, config) = folder_with_config("127.0.0.1:5001");
    pair(&folder.path().join("certs"), "later");
    let text = fs::read_to_string(&config).unwrap();
    let later = "[clients.\"c.d\"]\ncertificates = [\"certs/later.pem\"]\nroles = [\"r\"]\n\
                 [roles.r]\ncommands = [\"@status .\", \"@reload x\", \"say hello\"]\n";
    fs::write(&config, text + later).unwrap();
    let config = load_named_config(&config).unwrap().config;
    let chosen =
        |wanted: Wanted<'_>| client_of(&config, wanted).map(|path| path.file_stem().unwrap().to_owned());
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (line, client) in [("say hello", "later"), ("say", "here"), ("@ping", "here"), ("@status", "later")] {
        assert_eq!(chosen(Wanted::Command(&words(line))).unwrap(), client, "{line}");
    }
    assert_eq!(chosen(Wanted::Any).unwrap(), "here");
    assert_eq!(chosen(Wanted::BuiltIn("@status")).unwrap(), "later");
    let refused = chosen(Wanted::BuiltIn("@reload")).unwrap_err();
    assert_eq!(refused.exit(), Exit::Usage);
    for words in [
        "none of the clients whose keys are here may run @reload: `b`, `c.d`; ",
        "add \"@reload\" to `commands` of [clients.b] in ",
        "SIGHUP",
    ] {
        assert!(refused.message().contains(words), "{}", refused.message());
    }
    fs::remove_file(folder.path().join("certs/here.key")).unwrap();
    let refused = chosen(Wanted::BuiltIn("@reload")).unwrap_err();
    for words in ["the client `c.d`, whose key is here, may not run @reload; ", "of [clients.\"c.d\"] in "] {
        assert!(refused.message().contains(words), "{}", refused.message());
    }
}
