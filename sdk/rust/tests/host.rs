//! Commands that use every function of the host, on the host of a test.

#![allow(clippy::unwrap_used)]

use lictor_plugin::prelude::*;
use lictor_plugin::state::Store;
use lictor_plugin::testing::{self, Host};

#[derive(Config)]
struct Settings {
    #[config(default = "hello")]
    greeting: String,
    #[config(default = "10s")]
    patience: Duration,
    #[config(default = '-')]
    mark: char,
}

const CACHE: Store = Store::new("cache");

#[plugin]
mod sample {
    /// greets its caller
    #[command]
    fn greet(#[config] settings: &Settings) -> String {
        format!("{}{}{} {:?}", settings.greeting, settings.mark, request::caller().name, settings.patience)
    }

    /// fetches a page, and keeps it for a minute
    #[command]
    fn fetch(url: &str) -> Result<Vec<u8>, Failure> {
        if let Some(kept) = CACHE.get(url)? {
            return Ok(kept);
        }
        let answer = http::Request::new("GET", url).header("accept", "*/*").at_most(10).send()?;
        if !answer.is_success() {
            return Err(Failure::unavailable(format!("the status is {}", answer.status)));
        }
        CACHE.set_for(url, &answer.body, Duration::from_secs(60))?;
        log::info!("fetched {url}");
        Ok(answer.body)
    }

    /// tells what came
    #[command]
    fn echo() -> Vec<u8> {
        [format!("{:?} ", request::headers()).into_bytes(), request::body()].concat()
    }

    /// runs another command
    #[command]
    fn run(name: &str) -> Result<Vec<u8>, Failure> {
        call::command(&[name, "a"], b"body")
    }

    /// waits
    #[command]
    fn wait(span: Duration) -> String {
        let begun = clock::Instant::now();
        clock::sleep(span);
        format!("{:?} {:?} {}", begun.elapsed(), request::time_left(), clock::unix_time().as_secs())
    }

    /// draws a number
    #[command]
    fn draw() -> String {
        let bytes: [u8; 3] = random::bytes();
        format!("{} {bytes:?}", random::number())
    }

    /// publishes what stands in a file
    #[command]
    fn publish(path: &str) -> Result<(), Failure> {
        log_line!("two\nlines");
        events::publish("files", files::read(path)?).map(drop)
    }
}

fn run(host: &Host, arguments: &[&str]) -> Result<String, String> {
    let reply = host.run(sample::COMMANDS, arguments);
    reply.map(|reply| String::from_utf8(reply).unwrap()).map_err(|failure| failure.to_string())
}

#[test]
fn without_a_host_there_is_nothing_and_no_test_is_aborted() {
    assert_eq!(testing::run(sample::COMMANDS, &["greet"]).unwrap(), b"hello-tester 10s");
    let failed =
        |arguments: &[&str]| testing::run(sample::COMMANDS, arguments).unwrap_err().code().to_owned();
    assert_eq!(failed(&["fetch", "http://a/"]), "failed", "by the store");
    assert_eq!(
        run(&Host::new().store("cache"), &["fetch", "http://a/"]).unwrap_err(),
        "the plugin met an error that it did not expect (failed)"
    );
    assert_eq!(failed(&["run", "echo"]), "denied");
    assert_eq!(failed(&["publish", "/x"]), "failed");
}

#[test]
fn a_command_finds_what_the_test_gives_it() {
    let host = Host::new().caller("ada").config("greeting", "good day").config("patience", "2m");
    assert_eq!(run(&host, &["greet"]).unwrap(), "good day-ada 120s");
    let host = host.header("Lang", "de").body("x").commands(|arguments, body| {
        assert_eq!((arguments, body), (&["hi", "a"][..], &b"body"[..]));
        Err(Failure::conflict("not now"))
    });
    assert_eq!(run(&host, &["echo"]).unwrap(), "[(\"Lang\", \"de\")] x");
    assert_eq!(host.within(|| request::header("lang")).as_deref(), Some("de"));
    assert_eq!(run(&host, &["run", "hi"]).unwrap_err(), "not now (conflict)");
    let host = host.file("/proc/x", "1 2");
    assert_eq!(run(&host, &["publish", "/proc/x"]), Ok(String::new()));
    assert_eq!(host.take_published()[0].data, b"1 2");
    assert_eq!(host.take_log(), ["two", "lines"]);
    assert!(host.take_published().is_empty() && host.take_log().is_empty());
}

#[test]
fn a_web_answers_and_what_is_kept_expires_with_the_clock() {
    let host = Host::new().store("cache").web(|request| {
        assert_eq!((request.method(), request.headers().len()), ("GET", 1));
        match request.url() {
            "http://a/short" => Ok(http::Response::new(200, "short")),
            "http://a/long" => Ok(http::Response::new(200, "eleven byte")),
            "http://a/slow" => Err(http::Error::TimedOut),
            _ => Ok(http::Response::new(404, "")),
        }
    });
    assert_eq!(run(&host, &["fetch", "http://a/short"]).unwrap(), "short");
    assert_eq!(host.take_log(), ["info: fetched http://a/short"]);
    for (url, words) in [
        ("http://a/long", "the server's answer has more than 10 bytes (failed)"),
        ("http://a/slow", "the server did not answer in time (unavailable)"),
        ("http://a/none", "the status is 404 (unavailable)"),
        ("a", "the plugin met an error that it did not expect (failed)"),
    ] {
        assert_eq!(run(&host, &["fetch", url]).unwrap_err(), words);
    }
    let log = host.take_log();
    assert_eq!(
        log,
        ["uncaught failure of the host: no URL: it does not begin with http:// or https:// (bad-arguments)"]
    );
    let left =
        |host: &Host| host.within(|| CACHE.entry("http://a/short")).unwrap().and_then(|kept| kept.expires_in);
    host.advance(Duration::from_secs(59));
    assert_eq!(left(&host), Some(Duration::from_secs(1)));
    assert_eq!(run(&host, &["fetch", "http://a/short"]).unwrap(), "short");
    assert!(host.take_log().is_empty(), "it was kept");
    host.advance(Duration::from_secs(1));
    assert_eq!(left(&host), None);
    let host = host.stores_fail(Some(Failure::unavailable("the disk is full")));
    assert_eq!(run(&host, &["fetch", "http://a/short"]).unwrap_err(), "the disk is full (unavailable)");
}

#[test]
fn stores_have_the_rules_of_the_hosts() {
    let host = Host::new().entry("default", "a", "5");
    host.within(|| {
        let store = Store::default();
        assert_eq!(store.increment("a", 2), Ok(7));
        assert_eq!(store.increment("b", -1), Ok(-1));
        let version = store.set("c", "x").unwrap();
        assert_eq!(store.increment("c", 1).unwrap_err().code(), "failed");
        assert_eq!(store.compare_and_set("c", None, "y").unwrap_err().code(), "conflict");
        assert!(store.compare_and_set("c", Some(version), "y").unwrap() > version);
        assert_eq!(store.compare_and_delete("c", version).unwrap_err().code(), "conflict");
        for key in ["", "a\nb", &"x".repeat(257)] {
            assert_eq!(store.set(key, "").unwrap_err().code(), "bad-arguments");
        }
        assert_eq!(store.set_for("d", "", Duration::ZERO).unwrap_err().code(), "bad-arguments");
        assert_eq!(store.list("").collect::<Result<Vec<_>, _>>().unwrap(), ["a", "b", "c"]);
        assert_eq!((store.delete("a"), store.delete("a")), (Ok(true), Ok(false)));
        let bucket = keyvalue::store::open("default").unwrap();
        assert_eq!(bucket.get("b").unwrap().unwrap(), b"-1");
        assert_eq!(keyvalue::atomics::increment(&bucket, "n", 3).unwrap(), 3);
        assert_eq!(bucket.list_keys(None).unwrap().keys, ["b", "c", "n"]);
    });
}

#[test]
fn clocks_go_on_without_waiting_and_numbers_follow_from_a_seed() {
    let host = Host::new().unix_time(Duration::from_secs(1_000)).time_left(Duration::from_secs(3));
    assert_eq!(run(&host, &["wait", "2s"]).unwrap(), "2s 1s 1002");
    assert_eq!(run(&host, &["wait", "1s"]).unwrap(), "1s 2s 1003", "each command has the whole time");
    let draw = |seed| run(&Host::new().seed(seed), &["draw"]).unwrap();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn events_come_to_those_who_subscribed() {
    let host = Host::new().event("a/1", "x").event("b", "y").event("a/2", "z");
    host.within(|| {
        events::subscribe("a/*").unwrap();
        assert_eq!(events::next().unwrap().data, b"x");
        assert_eq!(events::next_within(Duration::from_secs(1)).unwrap().unwrap().data, b"z");
        assert!(events::next_within(Duration::from_secs(1)).unwrap().is_none());
        assert_eq!(events::next().unwrap_err().code(), "unavailable");
    });
}

fn code<T: std::fmt::Debug>(host: &Host, work: impl FnOnce() -> Result<T, Failure>) -> String {
    host.within(work).unwrap_err().code().to_owned()
}

#[test]
fn what_a_test_did_not_give_is_denied() {
    let host = Host::new().missing_file("/gone").entry("kept", "a", "1");
    assert_eq!(code(&host, || files::read("/x")), "denied");
    assert_eq!(code(&host, || files::read("/gone")), "not-found");
    let host = host.file("/large", vec![0; (1 << 20) + 1]);
    assert_eq!(code(&host, || files::read("/large")), "failed");
    let other = Store::new("other");
    assert_eq!(code(&host, || other.get("a")), "denied");
    assert_eq!(code(&host, || other.set("a", "")), "denied");
    assert_eq!(code(&host, || other.list("").collect::<Result<Vec<_>, _>>()), "denied");
    assert_eq!(code(&host, || Ok(keyvalue::store::open("other")?)), "denied");
    let host = host.store("other");
    assert_eq!(host.within(|| other.get("a")), Ok(None));
    assert_eq!(host.within(|| Store::new("kept").get_text("a")).unwrap().as_deref(), Some("1"));
}

/// A web that takes 3 s for each answer.
fn slow(time_left: u64) -> Host {
    Host::new().time_left(Duration::from_secs(time_left)).web(|_| {
        clock::sleep(Duration::from_secs(3));
        Ok(http::Response::new(200, "late"))
    })
}

#[test]
fn a_slow_web_is_waited_for_no_longer_than_it_may_take() {
    let fetch = |seconds| http::Request::new("GET", "http://a/").timeout(Duration::from_secs(seconds)).send();
    let host = slow(10);
    host.within(|| {
        let begun = clock::Instant::now();
        assert_eq!(fetch(1), Err(http::Error::TimedOut));
        assert_eq!((begun.elapsed(), request::time_left()), (Duration::from_secs(1), Duration::from_secs(9)));
        assert_eq!(fetch(3), Err(http::Error::TimedOut));
        assert_eq!(fetch(4).unwrap().status, 200);
        assert_eq!((begun.elapsed(), request::time_left()), (Duration::from_secs(7), Duration::from_secs(3)));
    });
    let host = slow(2).store("cache");
    let stopped = host.run(sample::COMMANDS, &["fetch", "http://a/"]).unwrap_err();
    assert_eq!(stopped.to_string(), "the plugin was stopped at the deadline (timeout)");
    assert_eq!(run(&host, &["wait", "2s"]).unwrap_err(), "the plugin was stopped at the deadline (timeout)");
    assert!(run(&host, &["wait", "1s"]).is_ok(), "the next command has its own time");
    assert_eq!(host.within(clock::unix_time).as_secs(), 1_767_225_600 + 5, "no clock runs beyond a deadline");
    let host = host.commands(|_, _| {
        clock::sleep(Duration::from_secs(2));
        Ok(Vec::new())
    });
    assert_eq!(run(&host, &["run", "x"]).unwrap_err(), "the plugin was stopped at the deadline (timeout)");
}

#[test]
fn requests_are_refused_that_the_host_would_not_send() {
    let host = Host::new().web(|_| Ok(http::Response::new(200, "")));
    let get = || http::Request::new("GET", "http://a/");
    host.within(|| {
        for (name, value) in [
            ("host", "b"),
            ("Transfer-Encoding", "chunked"),
            ("a b", "c"),
            ("", "c"),
            ("x", "y\n"),
            ("content-length", "7"),
        ] {
            let refused = http::Error::BadRequest(format!("the header {name} can't be sent"));
            assert_eq!(get().header(name, value).send(), Err(refused), "{name}: {value:?}");
        }
        assert!(get().header("x", "a\tb").header("content-length", "0").send().is_ok());
        let large = get().header("x", "y".repeat(17 << 10)).send();
        assert_eq!(large, Err(http::Error::BadRequest("the headers are too large".into())));
        for (method, url) in
            [("G T", "http://a/"), ("", "http://a/"), ("GET", "http://a\\b/"), ("GET", "http://a/<")]
        {
            let sent = http::Request::new(method, url).send();
            assert!(matches!(sent, Err(http::Error::BadRequest(_))), "{method} {url}: {sent:?}");
        }
        assert_eq!(http::Request::new("CONNECT", "http://a/").send(), Err(http::Error::Denied));
    });
}

#[test]
fn a_call_may_ask_the_host_for_so_much_and_no_more() {
    let host = Host::new().file("/a", vec![0; 1 << 20]);
    let write = |count: usize| {
        let host = &host;
        move || host.within(|| (0..count).all(|_| Store::default().set("a", "b").is_ok()))
    };
    write(10_000)();
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write(10_001))).unwrap_err();
    let words = stopped.downcast::<String>().unwrap();
    assert_eq!(*words, "the plugin asked for more than its 10000 operations of the host (plugin-limit)");
    let read = |count| move || (0..count).for_each(|_| drop(files::read("/a").unwrap()));
    host.within(read(63));
    let stopped =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.within(read(65)))).unwrap_err();
    assert!(stopped.downcast::<String>().unwrap().contains("64 MiB"));
    // Many keys in one call count as one operation.
    let keys: Vec<String> = (0..1000).map(|number| format!("k{number}")).collect();
    host.within(|| {
        let bucket = keyvalue::store::open("default").unwrap();
        for _ in 0..11 {
            keyvalue::batch::get_many(&bucket, &keys).unwrap();
        }
        let more: Vec<String> = (0..1001).map(|number| format!("k{number}")).collect();
        assert!(keyvalue::batch::get_many(&bucket, &more).is_err());
        let entries = [("good".into(), Vec::new()), (String::new(), Vec::new())];
        assert!(keyvalue::batch::set_many(&bucket, &entries).is_err());
        assert!(!bucket.exists("good").unwrap(), "all or none");
    });
}

#[test]
fn topics_have_the_rules_of_the_hosts() {
    let host = Host::new();
    for topic in ["", "a b", "é", &"x".repeat(129)] {
        assert_eq!(code(&host, || events::publish(topic, "")), "bad-arguments", "{topic}");
        assert_eq!(code(&host, || events::subscribe(topic)), "bad-arguments", "{topic}");
    }
    assert_eq!(code(&host, || events::publish("a", vec![0; (64 << 10) + 1])), "bad-arguments");
    assert_eq!(code(&host, events::next), "failed", "nothing is subscribed to");
    assert_eq!(code(&host, || (0..33).try_for_each(|_| events::subscribe("a/*"))), "failed");
    assert_eq!(host.within(|| events::subscribe("*")), Ok(()));
}

/// Holds even if the command panics, which the test may expect.
#[test]
fn a_host_is_of_its_test_alone() {
    let host = Host::new().caller("ada");
    let within = std::panic::AssertUnwindSafe(|| host.within(|| panic!("as expected")));
    assert!(std::panic::catch_unwind(within).is_err());
    assert_eq!(request::caller().name, "tester");
    assert_eq!(host.within(|| request::caller().name), "ada");
}
