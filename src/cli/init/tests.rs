//! Tests of what `init` makes and leaves.

use super::*;
use crate::app::may;
use crate::cli::Exit;
use crate::config;

fn init(folder: &Path) -> Init {
    Init { folder: folder.to_owned(), missing_only: false, listen: None, clients: Vec::new(), yes: false }
}

/// Makes the files without asking, for tests run on a terminal.
fn make(init: &Init, echo: &[u8]) -> Result<Vec<PathBuf>, Failure> {
    init.refuse_early(echo)?;
    Ok(init.make(echo, &Answers::of(init.listen, &init.clients)?)?.files)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// All files below a folder, with their contents.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn what_it_makes_is_a_config_without_a_fault() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("new");
    let made = make(&init(&folder), b"component").unwrap();
    assert_eq!(made.len(), 8);
    let loaded = config::load(&folder.join(CONFIG_FILE)).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.clients.len(), 2);
    assert_eq!(fs::read(folder.join("plugins/echo.wasm")).unwrap(), b"component");
    let mode = |path: &str| mode(&folder.join(path));
    assert_eq!((mode("certs"), mode("certs/dev.key"), mode("certs/server.key")), (0o700, 0o600, 0o600));
}

#[test]
fn it_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    make(&init(folder.path()), b"component").unwrap();
    let before = files(folder.path());
    let failure = make(&init(folder.path()), b"other").unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.message().contains("--missing-only"));
    let missing_only = Init { missing_only: true, ..init(folder.path()) };
    assert!(make(&missing_only, b"other").unwrap().is_empty());
    assert_eq!(files(folder.path()), before);

    fs::remove_file(folder.path().join("plugins/echo.wasm")).unwrap();
    fs::remove_file(folder.path().join("certs/dev.pem")).unwrap();
    let failure = make(&missing_only, b"other").unwrap_err();
    assert!(failure.message().contains("dev.key exists without"), "{}", failure.message());
    fs::remove_file(folder.path().join("certs/dev.key")).unwrap();
    let certificates = folder.path().join("certs");
    fs::set_permissions(&certificates, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(make(&missing_only, b"other").unwrap().len(), 3);
    assert_eq!(mode(&certificates), 0o700);
}

#[test]
fn beside_a_config_only_the_clients_that_it_names_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let config = "[clients.\"a.b\"]\ncertificates = [\"certs/a.b.pem\"]\n\
                  [clients.away]\ncertificates = [\"certs/away.pem\", \"certs/other.pem\"]\n\
                  [clients.pinned]\nthumbprints = [\"ab\"]\n";
    fs::write(at(CONFIG_FILE), config).unwrap();
    fs::create_dir(at("certs")).unwrap();
    fs::write(at("certs/away.pem"), "its key is elsewhere").unwrap();
    let missing_only = Init { missing_only: true, ..init(folder.path()) };
    let made = make(&missing_only, b"component").unwrap();
    let names =
        ["certs/server.pem", "certs/server.key", "certs/a.b.pem", "certs/a.b.key", "plugins/echo.wasm"];
    assert_eq!(made, names.map(at));
    let failure = make(&Init { clients: vec!["c".parse().unwrap()], ..missing_only }, b"").unwrap_err();
    assert!(failure.message().contains("exists and stays as it is"), "{}", failure.message());
    assert_eq!(fs::read_to_string(at(CONFIG_FILE)).unwrap(), config);
}

#[test]
fn each_half_of_a_pair_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    make(&init(folder.path()), b"component").unwrap();
    let missing_only = Init { missing_only: true, ..init(folder.path()) };
    let answers = Answers::of(None, &[]).unwrap();
    // A client may have its key, the server's is needed here.
    fs::remove_file(at("certs/operator.key")).unwrap();
    let made = missing_only.make(b"", &answers).unwrap();
    assert_eq!((made.files, made.without_key), (vec![], vec![at("certs/operator.pem")]));
    for name in ["certs/server.key", "certs/server.pem", "certs/dev.pem"] {
        fs::rename(at(name), at("away")).unwrap();
        let failure = missing_only.make(b"", &answers).err().unwrap();
        assert!(failure.message().contains(&format!("exists without {}", at(name).display())), "{name}");
        fs::rename(at("away"), at(name)).unwrap();
    }
    fs::write(at(CONFIG_FILE), "no toml").unwrap();
    assert_eq!(missing_only.make(b"", &answers).err().unwrap().exit(), Exit::Usage);
}

#[test]
fn the_server_and_the_clients_of_included_files_get_what_the_config_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("conf.d")).unwrap();
    fs::create_dir(at("tls")).unwrap();
    let config = "include = [\"conf.d/*.toml\"]\n[server]\ncertificate = \"tls/web.pem\"\nprivate_key = \"tls/web.key\"\n";
    fs::write(at(CONFIG_FILE), config).unwrap();
    let client = "[clients.ci]\ncertificates = [\"../certs/ci.pem\", \"certs/ci.pem\"]\n\
                  [clients.x]\ncertificates = [\"certs/x.pem\"]\n";
    fs::write(at("conf.d/ci.toml"), client).unwrap();
    let missing_only = Init { missing_only: true, ..init(folder.path()) };
    let made = make(&missing_only, b"component").unwrap();
    let names = ["tls/web.pem", "tls/web.key", "certs/ci.pem", "certs/ci.key", "plugins/echo.wasm"];
    assert_eq!(made, names.map(at));
    assert_eq!((mode(&at("certs")), mode(&at("tls/web.key"))), (0o700, 0o600));
    assert!(make(&missing_only, b"component").unwrap().is_empty());
}

#[test]
fn options_change_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let options = Init {
        listen: Some("[::1]:5000".parse().unwrap()),
        clients: ["a.b", "c"].map(|name| name.parse().unwrap()).to_vec(),
        ..init(folder.path())
    };
    make(&options, b"component").unwrap();
    let loaded = config::load(&folder.path().join(CONFIG_FILE)).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.server.listen, [options.listen.unwrap()]);
    let allowed = |name: &str, command: &str| may(&loaded.config.clients[name], &[command.to_owned()]);
    assert!(allowed("a.b", "echo") && allowed("c", "echo") && !allowed("c", "@reload"));
    assert!(allowed("operator", "@reload") && !allowed("operator", "echo"));
}

#[test]
fn without_the_plugin_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for missing_only in [false, true] {
        let failure = make(&Init { missing_only, ..init(folder.path()) }, b"").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.message().contains("without its example plugin"));
        assert!(files(folder.path()).is_empty());
    }
    let component = folder.path().join("plugins/echo.wasm");
    fs::create_dir(folder.path().join("plugins")).unwrap();
    fs::write(component, "own").unwrap();
    assert_eq!(make(&Init { missing_only: true, ..init(folder.path()) }, b"").unwrap().len(), 7);
}

#[test]
fn the_next_command_begins_in_the_folder() {
    assert!(init(Path::new(".")).next_commands().contains("  lictor serve\n"));
    assert!(init(Path::new("a/b")).next_commands().contains("cd a/b && lictor serve\n"));
}
