//! Dedicated threads for computations that strangers cause.
//!
//! Reading a stranger's certificate and checking signatures takes up to some milliseconds without a pause,
//! which on the serving threads would delay admitted clients. Here a few threads do it; handshakes wait for
//! them within their own deadlines. Strangers have threads apart from those for clients whose chains are
//! verified anew at a reload, so that neither holds up the other.

use std::collections::HashMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, oneshot};

use super::gate::{Gate, Verifying};
use crate::identity::{PeerIdentity, Rejection};
use crate::sync::locked;

/// At most one processor in this many is for strangers' certificates.
const PROCESSORS_PER_THREAD: usize = 4;

/// Jobs of a thread at once: one that runs, and one that is ready to follow.
const JOBS_PER_THREAD: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// The identity by which a chain admits a client, or the reason why it does not.
type Verdict = Result<PeerIdentity, Rejection>;

/// All threads that verify.
#[derive(Debug)]
pub(super) struct Verifiers {
    strangers: Threads,
    clients: Threads,
}

/// Threads that run jobs in the order in which they come.
struct Threads {
    free: Arc<Semaphore>,
    /// Taken when this is dropped, which ends the threads.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// One roster's verdicts on the chains of admitted clients.
///
/// A client chooses its number of connections and the certificates that it shows beside its own. So the same
/// chain is verified once, and the chains of one client one by one: it holds up only its own connections.
#[derive(Debug, Default)]
pub struct Rechecks(Mutex<HashMap<Arc<str>, Arc<VerdictsOfClient>>>);

/// The verdicts on a client's chains, by the chain's hash. Locked while one of them is verified.
type VerdictsOfClient = tokio::sync::Mutex<HashMap<[u8; 32], Verdict>>;

impl Rechecks {
    fn of(&self, client: &Arc<str>) -> Arc<VerdictsOfClient> {
        let mut clients = locked(&self.0);
        Arc::clone(clients.entry(Arc::clone(client)).or_default())
    }
}

/// Hashes a chain, to tell it from others.
fn hash(chain: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for certificate in chain {
        hash.update(certificate.len().to_le_bytes());
        hash.update(certificate);
    }
    hash.finalize().into()
}

impl Verifiers {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If the system refuses one.
    pub(super) fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let number = (processors / PROCESSORS_PER_THREAD).max(1);
        let strangers = Threads::start("verify", number)?;
        Ok(Self { strangers, clients: Threads::start("verify-clients", number)? })
    }

    /// Returns the verdict of `judge` on a stranger that comes through `gates`; each gate lets through one at
    /// a time. Returns `None` if `judge` panics.
    pub(super) async fn of_stranger<T: Send + 'static>(
        &self,
        gates: &[Arc<Gate>],
        judge: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let mut permits: Vec<Verifying> = Vec::new();
        for gate in gates {
            permits.push(Gate::verify(gate).await?);
        }
        self.strangers.run(permits, judge).await
    }

    /// Returns the verdict of `judge` on `client`, which is admitted and showed this `chain`, unless `known`
    /// has one. Returns `None` if `judge` panics.
    pub(super) async fn of_client(
        &self,
        known: &Rechecks,
        client: &Arc<str>,
        chain: Vec<CertificateDer<'static>>,
        judge: impl FnOnce(&[CertificateDer<'static>]) -> Verdict + Send + 'static,
    ) -> Option<Verdict> {
        let known = known.of(client);
        let mut known = known.lock().await;
        let hash = hash(&chain);
        if let Some(verdict) = known.get(&hash) {
            return Some(verdict.clone());
        }
        let verdict = self.clients.run((), move || judge(&chain)).await?;
        known.insert(hash, verdict.clone());
        Some(verdict)
    }
}

impl Threads {
    fn start(name: &str, number: usize) -> io::Result<Self> {
        let (jobs, line) = channel();
        let line = Arc::new(Mutex::new(line));
        let mut started = Self {
            free: Arc::new(Semaphore::new(JOBS_PER_THREAD * number)),
            jobs: Some(jobs),
            threads: Vec::new(),
        };
        for _ in 0..number {
            let line = Arc::clone(&line);
            started.threads.push(thread::Builder::new().name(name.into()).spawn(move || work(&line))?);
        }
        Ok(started)
    }

    /// Runs `job` on a thread. What it `holds` is dropped when the job is done, even if nobody waits for it
    /// any more.
    async fn run<T: Send + 'static>(
        &self,
        holds: impl Send + 'static,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        let job = move || {
            let _holds = (permit, holds);
            if !tell.is_closed() {
                // The waiting task may have been dropped.
                let _ = tell.send(job());
            }
        };
        self.jobs.as_ref()?.send(Box::new(job)).ok()?;
        told.await.ok()
    }
}

fn work(line: &Mutex<Receiver<Job>>) {
    loop {
        let next = locked(line).recv();
        let Ok(job) = next else { return };
        // The caller whose job panicked gets no result; other jobs go on.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            // A thread ends by itself, whatever its jobs do.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::mpsc;

    use super::*;
    use crate::network::Network;

    fn gates(address: &str) -> Vec<Arc<Gate>> {
        let networks = Network::all_of(SocketAddr::new(address.parse().unwrap(), 9).into());
        networks.into_iter().map(|network| Arc::new(Gate::new(network, 10, 10))).collect()
    }

    #[tokio::test]
    async fn a_network_has_one_job_at_a_time_and_others_go_on() {
        let verifiers =
            Verifiers { strangers: Threads::start("a", 2).unwrap(), ..Verifiers::start().unwrap() };
        let (a, b) = (gates("192.0.2.1"), gates("2001:db8::1"));
        let (release, held) = mpsc::channel::<()>();
        let mut first = Box::pin(verifiers.of_stranger(&a, move || held.recv()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(verifiers.of_stranger(&a, || 2));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(verifiers.of_stranger(&b, || 3).await, Some(3));
        assert_eq!(verifiers.clients.run((), || 4).await, Some(4));
        assert!(futures_util::poll!(&mut second).is_pending());
        release.send(()).unwrap();
        assert_eq!((first.await, second.await), (Some(Ok(())), Some(2)));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_is_no_job_and_a_panic_is_ones_own() {
        let verifiers = Verifiers::start().unwrap();
        let a = gates("192.0.2.1");
        let (release, held) = mpsc::channel::<()>();
        let mut first = Box::pin(verifiers.clients.run((), move || held.recv()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let (did, done) = mpsc::channel();
        let mut given_up = Box::pin(verifiers.clients.run((), move || did.send(())));
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        release.send(()).unwrap();
        assert_eq!(first.await, Some(Ok(())));
        assert_eq!(verifiers.clients.run((), || ()).await, Some(()));
        assert!(done.try_recv().is_err(), "what nobody waits for is not done");
        let panics = || -> () { panic!("a parser's fault") };
        assert_eq!(verifiers.of_stranger(&a, panics).await, None);
        assert_eq!(verifiers.of_stranger(&a, || 1).await, Some(1));
    }

    #[tokio::test]
    async fn a_clients_chain_is_verified_once_its_chains_one_by_one_and_others_chains_meanwhile() {
        let (verifiers, known) = (Verifiers::start().unwrap(), Rechecks::default());
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let chain = |number: u8| vec![CertificateDer::from(vec![number]), CertificateDer::from(vec![])];
        let (asked, jobs) = mpsc::channel();
        let judge = |number: u8| {
            let asked = asked.clone();
            move |_: &[CertificateDer<'static>]| {
                asked.send(number).unwrap();
                Err(Rejection::NoCertificate)
            }
        };
        let is_refused = |verdict: Option<Verdict>| matches!(verdict, Some(Err(Rejection::NoCertificate)));
        let mut first = Box::pin(verifiers.of_client(&known, &one, chain(1), judge(1)));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut again = Box::pin(verifiers.of_client(&known, &one, chain(1), judge(2)));
        let mut second = Box::pin(verifiers.of_client(&known, &one, chain(2), judge(3)));
        assert!(
            futures_util::poll!(&mut again).is_pending() && futures_util::poll!(&mut second).is_pending()
        );
        assert!(is_refused(verifiers.of_client(&known, &other, chain(1), judge(4)).await));
        // The first chain's thread may begin after the other client's has ended.
        let mut begun = [jobs.recv().unwrap(), jobs.recv().unwrap()];
        begun.sort_unstable();
        assert_eq!(begun, [1, 4], "the second chain waits for its first");
        assert!(is_refused(first.await) && is_refused(again.await) && is_refused(second.await));
        assert_eq!(jobs.try_iter().collect::<Vec<_>>(), [3], "the first chain was known");
    }
}
