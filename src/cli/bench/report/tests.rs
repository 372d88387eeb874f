//! The form of reports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::loadgen::Plan;

fn outcome(pace: Pace, cpu: Duration) -> Outcome {
    let mut latency = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    (0..1000).for_each(|n| latency.record(100_000 + n * 100).unwrap());
    latency.record(50_000_000).unwrap();
    let report = Report {
        replies: 1001,
        failures: BTreeMap::from([("busy".to_owned(), 2), ("evil\r\n".to_owned(), 1)]),
        unanswered: 0,
        elapsed: Duration::from_secs(2),
        corrected: latency.clone_correct(200_000),
        latency,
        per_interval: vec![1001],
        cpu,
    };
    let time = Duration::from_secs(2);
    let plan = Plan { connections: 50, in_flight: 1, pace, warm_up: Duration::ZERO, time };
    Outcome {
        load: Load::Steady(plan),
        server: "127.0.0.1:4888".to_owned(),
        command: vec!["echo".to_owned(), "a\nb".to_owned()],
        is_plain: false,
        report,
    }
}

#[test]
fn a_report_fits_eighty_columns_and_escapes_what_others_wrote() {
    let text = outcome(Pace::Closed, Duration::from_secs(1)).text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for words in [
        "echo a\\nb at 127.0.0.1:4888\nclosed loop: 50 connections, 1 request in flight on each\n",
        "requests    1,001 in 2.0 s: 501 per second\n",
        "failures    2 busy, 1 evil\\r\\n\n",
        "latency       100 µs     150 µs     190 µs     199 µs     200 µs    50.0 ms\n",
        "corrected     100 µs ",
        "the generator used 50 % of a core",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(!text.contains("warning") && !text.contains("unanswered"), "{text}");
}

#[test]
fn a_busy_generator_and_an_open_loop_are_told() {
    let mut outcome = outcome(Pace::Open { per_second: 1000.0 }, Duration::from_millis(1900));
    outcome.report.unanswered = 12;
    let text = outcome.text();
    assert!(
        text.contains("open loop: 1000 per second; 50 connections") && text.contains("unanswered  12, "),
        "{text}"
    );
    assert!(text.contains("warning: ") && !text.contains("corrected"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(outcome.json()["corrected_us"], Value::Null);
}

#[test]
fn json_has_the_same() {
    let json = outcome(Pace::Closed, Duration::from_secs(1)).json();
    assert_eq!((&json["requests"], &json["failures"]["busy"]), (&1001.into(), &2.into()));
    assert_eq!((json["loop"].as_str(), json["seconds"].as_f64()), (Some("closed"), Some(2.0)));
    let p50 = json["latency_us"]["p50"].as_f64().unwrap();
    assert!((149.0..151.0).contains(&p50), "{json}");
    assert!(json["corrected_us"]["p99"].as_f64() > json["latency_us"]["p99"].as_f64(), "{json}");
    let counted: u64 =
        json["histogram"].as_array().unwrap().iter().map(|r| r["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 1001);
}

#[test]
fn numbers_are_short() {
    for (nanos, text) in [
        (999, "1.00 µs"),
        (87_300, "87.3 µs"),
        (999_400, "999 µs"),
        (999_600, "1.00 ms"),
        (12_340_000, "12.3 ms"),
        (999_900_000, "1.00 s"),
        (3_600_000_000_000, "3600 s"),
    ] {
        assert_eq!(time(nanos), text);
    }
    for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(count(number), text);
    }
}
