//! Validity dates of everything that has them, and a replaced server certificate.

use std::fs;
use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use testkit::certs::{Authority, Identity, unix_time};
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns the time this many days from now, plus a minute.
fn in_days(days: u32) -> SystemTime {
    SystemTime::now() + DAY * days + Duration::from_secs(60)
}

/// A server with a warning for every date, except those of `later` and `tester`; and the warnings' words.
fn dated() -> (Setup, Identity, Vec<&'static str>) {
    let tester = Identity::new("tester");
    let long_ago = unix_time(366 * 24 * 3600);
    let (old, new) = (Authority::valid_until("Old", Some(long_ago)), Authority::beginning_in_2200("New"));
    let root = Authority::valid_until("Root", Some(in_days(5)));
    let setup = Setup::new().master("tester", &tester);
    let server = old.issue_with("server", &[], |params| {
        params.not_after = in_days(0).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    });
    server.write(setup.folder(), "server");
    let write = |name: &str, text: &str| fs::write(setup.folder().join(name), text).unwrap();
    write("server.pem", &(fs::read_to_string(setup.folder().join("server.pem")).unwrap() + &old.pem()));
    write("authorities.pem", &(root.pem() + &new.pem()));
    write("old.crl", &root.revoking(&[1]));
    write("new.crl", &new.revoking_from(&[1], unix_time(7_258_118_400)));
    let mut sections =
        "[identity]\nauthorities = [\"authorities.pem\"]\nrevocation_lists = [\"old.crl\", \"new.crl\"]\n\
                        [clients.desk]\nuris = [\"spiffe://example.org/desk\"]\ncommands = [\"@ping\"]\n"
            .to_owned();
    for (name, identity) in [
        ("soon", Identity::valid_for("soon", in_days(9).duration_since(SystemTime::now()).unwrap())),
        ("later", Identity::valid_for("later", in_days(30).duration_since(SystemTime::now()).unwrap())),
        ("past", Identity::expired("past")),
        ("early", Identity::not_yet_valid("early")),
    ] {
        identity.write(setup.folder(), name);
        sections += &format!("[clients.{name}]\ncertificates = [\"{name}.pem\"]\ncommands = [\"@ping\"]\n");
    }
    let said = vec![
        "server.pem ends in less than a day, at 20",
        "server.pem expired at 1971-01-02T00:00:00Z",
        "authorities.pem ends in 5 days, at 20",
        "authorities.pem is not valid before 2200-01-01T00:00:00Z",
        "early.pem is not valid before 2200-01-01T00:00:00Z",
        "past.pem expired at 2021-01-01T00:00:00Z",
        "soon.pem ends in 9 days, at 20",
        "old.crl is out of date: the next one was due at 2023-01-01T00:00:00Z",
        "new.crl is of a time to come, 2200-01-01T00:00:00Z",
    ];
    (setup.section(&sections), tester, said)
}

/// Counts the warnings in the log that contain each of `said`, and all warnings.
fn warned(server: &Server, said: &[&str]) -> (Vec<usize>, usize) {
    let log = server.log();
    let warnings: Vec<_> = log.iter().filter(|entry| entry.message() == "a config warning").collect();
    let count = |words: &&str| {
        warnings.iter().filter(|entry| entry.text("warning").unwrap().contains(*words)).count()
    };
    (said.iter().map(count).collect(), warnings.len())
}

#[test]
fn whatever_has_dates_is_told_alike_by_a_check_a_start_and_a_reload() {
    let (setup, tester, said) = dated();
    setup.write();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for words in &said {
        let line = checked.stderr.lines().find(|line| line.contains(words));
        assert!(line.is_some_and(|line| line.starts_with("warning: ")), "{words}: {checked:?}");
    }
    assert_eq!(checked.stderr.matches("warning: ").count(), said.len(), "{checked:?}");
    // Advice is given only for certificates that are already valid.
    for (advice, count) in [
        ("renew it with `lictor cert renew`", 4),
        ("add its successor to `authorities`", 1),
        ("help: put the authority's new list there, and reload", 1),
        ("the server's certificate (server) in server.pem ends", 1),
        ("the certificate (Old) of the server's chain in server.pem expired", 1),
        ("the certificate of the authority Root in authorities.pem ends", 1),
        (" of the client past in past.pem expired", 1),
        ("the revocation list of Root in old.crl is out of date", 1),
    ] {
        assert_eq!(checked.stderr.matches(advice).count(), count, "{advice}: {checked:?}");
    }
    let listed =
        "  revocation list of Root: revokes 1 certificate(s), the next one is due at 2023-01-01T00:00:00Z\n";
    assert!(checked.stdout.contains(listed), "{checked:?}");
    assert!(!checked.stdout.contains("note"), "{checked:?}");
    let server = setup.start();
    assert_eq!(warned(&server, &said), (vec![1; said.len()], said.len()), "{}", server.printed());
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("@reload"), "nothing has changed");
    server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
    assert_eq!(warned(&server, &said), (vec![2; said.len()], 2 * said.len()), "{}", server.printed());
    let clients = connection.ask("@clients");
    let line = |name: &str| clients.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("soon").contains("last use never") && line("soon").ends_with("… for 9 days"), "{clients}");
    assert!(line("later").ends_with("… for 30 days"), "{clients}");
    assert!(line("past").ends_with("… ended 2021-01-01T00:00:00Z"), "{clients}");
}

#[test]
fn a_certificate_that_is_put_in_the_place_of_the_servers_is_told_by_the_reload() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).start();
    let mut operator = server.connect(&tester);
    assert_eq!(operator.ask("@reload"), "nothing has changed");
    tester.write(server.folder(), "tester");
    // Trusts the certificate in the file that the config names.
    let called = || {
        let address = server.address().to_string();
        let call = ["call", "--config", "server.toml", "--server", &address, "--cert", "tester.pem", "@ping"];
        finish(lictor(server.folder()).args(call)).code
    };
    assert_eq!(called(), Some(0));
    Identity::of_server().write(server.folder(), "server");
    assert_eq!(called(), Some(3), "the server shows the old one until it reloads");
    assert_eq!(operator.ask("@reload"), "live     changed  server.certificate");
    assert_eq!(called(), Some(0));
    assert_eq!(operator.ask("@reload"), "nothing has changed");
}
