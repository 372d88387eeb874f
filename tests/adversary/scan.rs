//! A scanner of TLS servers, `sslyze`, must find nothing.

use std::process::Command;

use serde_json::Value;
use testkit::certs::Identity;
use testkit::server::{Server, Setup};

use crate::{assert_serves, server_with, tools};

/// The scans: all that the scanner knows, except those of HTTP.
const SCANS: [&str; 16] = [
    "--certinfo",
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--early_data",
    "--resum",
    "--reneg",
    "--compression",
    "--fallback",
    "--heartbleed",
    "--openssl_ccs",
    "--robot",
    "--elliptic_curves",
];

/// Results for any config: a path through the report, and the value there.
const FOUND: [(&str, &str); 12] = [
    ("/ssl_2_0_cipher_suites/result/accepted_cipher_suites", "[]"),
    ("/ssl_3_0_cipher_suites/result/accepted_cipher_suites", "[]"),
    ("/tls_1_0_cipher_suites/result/accepted_cipher_suites", "[]"),
    ("/tls_1_1_cipher_suites/result/accepted_cipher_suites", "[]"),
    ("/tls_1_3_early_data/result/supports_early_data", "false"),
    ("/session_renegotiation/result/is_vulnerable_to_client_renegotiation_dos", "false"),
    ("/session_renegotiation/result/client_renegotiations_success_count", "0"),
    ("/tls_compression/result/supports_compression", "false"),
    ("/tls_fallback_scsv/result/supports_fallback_scsv", "true"),
    ("/heartbleed/result/is_vulnerable_to_heartbleed", "false"),
    ("/openssl_ccs_injection/result/is_vulnerable_to_ccs_injection", "false"),
    ("/robot/result/robot_result", "NOT_VULNERABLE_RSA_NOT_SUPPORTED"),
];

const OF_TLS_1_3: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// All with forward secrecy and authenticated encryption.
const OF_TLS_1_2: [&str; 3] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Scans this server; `None` if the scanner is unavailable.
fn scanned(server: &Server) -> Option<Value> {
    let report = server.folder().join("report.json");
    let mut scan = Command::new(tools::python()?);
    // No profile, since each treats a self-signed certificate as a fault. Its libraries warn of each other.
    scan.args(["-W", "ignore", "-m", "sslyze", "--quiet", "--mozilla_config", "disable"]).args(SCANS);
    tools::output(scan.arg("--json_out").arg(&report).arg(server.address().to_string()));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let scan = &report["server_scan_results"][0];
    assert_eq!(scan["scan_status"], "COMPLETED", "{scan:#}");
    Some(scan["scan_result"].clone())
}

/// Asserts these cipher suites and this resumption, and nothing else.
fn assert_found(found: &Value, of_tls_1_2: &[&str], resumption: &str) {
    for (path, wanted) in FOUND {
        let is = found.pointer(path).unwrap_or_else(|| panic!("no {path} in {found:#}"));
        assert_eq!(is.as_str().map_or_else(|| is.to_string(), str::to_owned), wanted, "{path}");
    }
    assert_eq!(suites(found, "tls_1_2_cipher_suites"), of_tls_1_2);
    assert_eq!(suites(found, "tls_1_3_cipher_suites"), OF_TLS_1_3);
    let resumed = &found["session_resumption"]["result"];
    assert_eq!(resumed["session_id_resumption_result"], resumption);
    assert_eq!(resumed["tls_ticket_resumption_result"], resumption);
}

fn suites<'f>(found: &'f Value, version: &str) -> Vec<&'f str> {
    let accepted = found[version]["result"]["accepted_cipher_suites"].as_array().expect("a list of suites");
    let mut names: Vec<_> =
        accepted.iter().filter_map(|suite| suite["cipher_suite"]["name"].as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_scanner_finds_tls_1_3_and_nothing_else() {
    let (server, tester) = server_with("");
    let Some(found) = scanned(&server) else { return };
    assert_found(&found, &[], "SERVER_IS_TLS_1_3_ONLY");
    assert_serves(&server, &tester);
}

#[test]
fn a_scanner_finds_nothing_weak_where_tls_1_2_is_allowed() {
    let tester = Identity::new("tester");
    let setup = Setup::new().server("min_tls_version = \"1.2\"").master("tester", &tester).echo();
    let server = setup.start();
    let Some(found) = scanned(&server) else { return };
    assert_found(&found, &OF_TLS_1_2, "NOT_SUPPORTED");
    assert_serves(&server, &tester);
}
