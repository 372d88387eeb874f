//! Slots for HTTP requests of plugins: the number in progress at once, and the calls that wait for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use testkit::certs::Identity;
use testkit::server::Setup;
use testkit::web::Web;
use testkit::{components, eventually};

use crate::http::{HELLO, refusal, setup};
use crate::metrics::metrics;

/// A web server that answers no request until it is released, and counts those that wait.
struct Held {
    web: Web,
    waiting: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Held {
    fn new() -> Self {
        let (waiting, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (now, so_far, opened) = (Arc::clone(&waiting), Arc::clone(&most), Arc::clone(&gate));
        let web = Web::new(move |_, connection| {
            so_far.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (open, changed) = &*opened;
            drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            now.fetch_sub(1, Ordering::SeqCst);
            connection.send(HELLO);
        });
        Self { web, waiting, most, gate }
    }

    fn wait_for(&self, count: usize) {
        let reached = || (self.waiting.load(Ordering::SeqCst) >= count).then_some(());
        eventually("requests under way", reached);
    }

    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

#[test]
fn few_requests_are_under_way_at_once_and_the_others_wait() {
    for (limits, most) in [("", 8), ("[limits]\nhttp_requests = 3", 2)] {
        let held = Held::new();
        let (setup, tester) = setup("", &format!("http = [{:?}]", held.web.url("")));
        let server = setup.section(limits).start();
        let mut connection = server.connect(&tester);
        connection.send(format!("at-once 12 {}\r\nSequence: 1\r\n\r\n", held.web.url("/")));
        held.wait_for(most);
        // Any other request would have started by the time other commands have been answered.
        let mut other = server.connect(&tester);
        (0..20).for_each(|_| drop(refusal(&mut other, "fetch GET http://denied/")));
        assert!(metrics(&mut other)["lictor_http_requests_delayed_total"] > 0);
        held.open();
        assert_eq!(connection.read_frame().text(), "12");
        assert_eq!(held.most.load(Ordering::SeqCst), most);
    }
}

#[test]
fn a_plugin_whose_servers_are_silent_leaves_the_others_their_places() {
    let (held, web, tester) = (Held::new(), Web::answering(HELLO), Identity::new("tester"));
    let granting = |web: &Web| format!("grants = {{ http = [{:?}] }}", web.url(""));
    let server = Setup::new()
        .master("tester", &tester)
        .plugin("greedy", components::web(), &["at-once"], &granting(&held.web))
        .plugin("other", components::web(), &["body-size"], &granting(&web))
        .section("[limits]\nhttp_requests = 2")
        .start();
    let mut greedy = server.connect(&tester);
    greedy.send(format!("at-once 6 {}\r\nSequence: 1\r\n\r\n", held.web.url("/")));
    held.wait_for(1);
    let mut quiet = server.connect(&tester);
    for _ in 0..5 {
        assert_eq!(quiet.ask(&format!("body-size GET {}", web.url("/"))), "5");
    }
    held.open();
    assert_eq!(greedy.read_frame().text(), "6");
    assert_eq!(held.most.load(Ordering::SeqCst), 1);
}
