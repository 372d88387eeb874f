//! Cost of a command through the whole server: TCP, TLS, protocol, permission, a sandboxed plugin and back.
//!
//! The server is the real binary in its own process; the client is in this one, on one connection, with a
//! number of framed requests in flight. Server and client share the machine, so figures only serve to compare
//! two builds of Lictor.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor::client::{Address, Connection, Connector, Credentials, Frame, Request, Trust};
use lictor::identity::Thumbprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A server in its own folder; dropping it ends the process and deletes the folder.
struct Server {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Server {
    fn start(instances: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lictor = || Command::new(env!("CARGO_BIN_EXE_lictor"));
        assert!(lictor().arg("init").arg(folder.path()).stdout(Stdio::null()).status().unwrap().success());
        let path = folder.path().join("server.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let config = config.replace("127.0.0.1:4888", "127.0.0.1:0");
        assert!(config.contains("\"per-request\""));
        let config = config.replace("\"per-request\"", &format!("\"{instances}\""));
        std::fs::write(&path, config).unwrap();
        let mut process =
            lictor().args(["serve", "--config"]).arg(&path).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = log.by_ref().map(Result::unwrap).find(|line| line.contains("\"listening\"")).unwrap();
        // Reads the rest of the log, so that the server never blocks on it.
        std::thread::spawn(move || log.for_each(drop));
        let address = listening.split("\"address\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Self { process, address, folder }
    }

    async fn connect(&self) -> Connection {
        let certs = self.folder.path().join("certs");
        let server = CertificateDer::from_pem_file(certs.join("server.pem")).unwrap();
        let pin = Thumbprint::sha256_of(&server);
        let credentials = Credentials::load(&certs.join("dev.pem"), None).unwrap();
        let address: Address = self.address.parse().unwrap();
        Connector::new(address, &Trust::Pinned(vec![pin]), Some(&credentials))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn server(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("server");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(8));
    for instances in ["shared", "per-request"] {
        let server = Server::start(instances);
        let mut connection = runtime.block_on(server.connect());
        for (command, in_flight) in [("echo", 1), ("echo", 16), ("@ping", 1), ("@ping", 16)] {
            group.bench_function(format!("{instances}/{command}/{in_flight}-in-flight"), |bencher| {
                bencher.iter_custom(|times| {
                    runtime.block_on(pipeline(&mut connection, command, in_flight, times))
                });
            });
        }
    }
    group.finish();
}

/// Sends `times` requests, `in_flight` at a time, and waits for all answers.
async fn pipeline(connection: &mut Connection, command: &str, in_flight: u64, times: u64) -> Duration {
    let batch: Vec<u8> = (1..=in_flight)
        .flat_map(|n| {
            Request::from_arguments(&[command, "0123456789abcdef"]).unwrap().sequence(n).encode().unwrap()
        })
        .collect();
    let began = Instant::now();
    for _ in 0..times.div_ceil(in_flight) {
        connection.send(&batch).await.unwrap();
        for _ in 0..in_flight {
            assert!(matches!(connection.next_frame().await.unwrap(), Frame::Ok { .. }));
        }
    }
    began.elapsed().mul_f64(times as f64 / (times.div_ceil(in_flight) * in_flight) as f64)
}

criterion_group!(benches, server);
criterion_main!(benches);
