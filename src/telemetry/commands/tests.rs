//! Budgets of commands, and the lines written for them.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::telemetry::{ConnectionId, Spent};

fn log(per_second: u32) -> CommandLog {
    let commands = ["echo", "kv-set", "@kick"].map(|name| (name.into(), "".into()));
    CommandLog::new(
        per_second,
        Arguments::Hidden,
        ["a", "b"].map(Arc::from).into_iter(),
        commands,
        &["@kick"],
        0,
    )
}

/// Returns how many of `events` of `command` in one second are written.
fn written(recorder: &Recorder, command: &str, result: Result<usize, &CommandError>, events: usize) -> usize {
    let request = Request::composed(&[command.to_owned()], Bytes::new()).unwrap();
    let event = CommandEvent {
        id: RequestId { connection: ConnectionId(1), number: 1 },
        request: &request,
        via: None,
        began: recorder.log.started + Duration::from_secs(5),
        ended: recorder.log.started + Duration::from_secs(6),
        result,
        closest: None,
        spent: &Spent::default(),
    };
    (0..events).filter(|_| recorder.admits(&event)).count()
}

fn counted(log: &CommandLog, client: &str) -> Vec<(Option<String>, Option<&'static str>, u64)> {
    let counts = log.0.clients[client].take_counts().into_iter();
    counts.map(|count| (count.command.map(|name| name.to_string()), count.code, count.events)).collect()
}

#[test]
fn a_flood_hides_no_other_command_and_no_other_client() {
    let log = log(100);
    let (a, b) = (log.recorder("a".into()), log.recorder("b".into()));
    assert_eq!(written(&a, "echo", Ok(1), 1000), 100);
    assert_eq!(written(&a, "kv-set", Ok(1), 50), 10);
    assert_eq!(written(&b, "echo", Ok(1), 50), 10);
    assert_eq!(written(&a, "@kick", Ok(1), 50), 50);
    let counts = [(Some("echo".to_owned()), None, 900), (Some("kv-set".to_owned()), None, 40)];
    assert_eq!(counted(&log, "a"), counts);
    assert_eq!(counted(&log, "b"), [(Some("echo".to_owned()), None, 40)]);
    // Another connection of the same client shares its budget.
    assert_eq!(written(&log.recorder("a".into()), "echo", Ok(1), 10), 0);
}

#[test]
fn who_is_active_shares_the_whole() {
    let log = log(100);
    let (a, b) = (log.recorder("a".into()), log.recorder("b".into()));
    written(&a, "echo", Ok(1), 1);
    written(&b, "echo", Ok(1), 1);
    log.0.report(6);
    assert_eq!((written(&a, "echo", Ok(1), 200), written(&b, "echo", Ok(1), 200)), (49, 49));
    log.0.report(9);
    assert_eq!(log.0.share.load(Ordering::Relaxed), 100);
    assert_eq!(written(&super::tests::log(0).recorder("a".into()), "echo", Ok(1), 9), 0);
}

#[test]
fn failures_are_told_apart_by_client_command_and_code() {
    let log = log(0);
    let (a, b) = (log.recorder("a".into()), log.recorder("b".into()));
    let error = |code| CommandError::not_run(code, "no");
    let (unknown, forbidden, busy) = (error(Code::UnknownCommand), error(Code::Forbidden), error(Code::Busy));
    assert_eq!(written(&a, "nosuch", Err(&unknown), 1000), 10);
    // All names that are no commands share one budget.
    assert_eq!((0..1000).filter(|n| written(&a, &format!("no{n}"), Err(&unknown), 1) > 0).count(), 0);
    assert_eq!((0..1000).filter(|n| written(&a, &format!("no{n}"), Err(&busy), 1) > 0).count(), 10);
    assert_eq!(written(&a, "@kick", Err(&forbidden), 11), 10);
    assert_eq!(written(&a, "@kick", Err(&busy), 11), 10);
    assert_eq!(written(&b, "@kick", Err(&forbidden), 8), 8);
    assert_eq!(locked(&log.0.clients["a"].commands).len(), 1);
    assert_eq!(a.recent.borrow().len(), 1);
    let counts = counted(&log, "a");
    assert_eq!(counts[0], (None, Some("unknown-command"), 1990));
    assert_eq!(counts.len(), 4);
    assert!(counted(&log, "b").is_empty());
}

#[test]
fn what_would_be_forbidden_has_a_budget_for_each_command() {
    let log = log(0);
    let (a, b) = (log.recorder("a".into()), log.recorder("b".into()));
    let report = |recorder: &Recorder, command: &str, times: usize| {
        let request = Request::composed(&[command.to_owned()], Bytes::new()).unwrap();
        (0..times).for_each(|_| recorder.report(ConnectionId(1), &request, None, || None));
    };
    report(&a, "echo", 1000);
    report(&a, "kv-set", 3);
    report(&b, "echo", 3);
    let counts = counted(&log, "a");
    // A second may begin meanwhile.
    let [(Some(command), Some("would-be-forbidden"), 900..=990)] = &counts[..] else { panic!("{counts:?}") };
    assert_eq!(command, "echo");
    assert!(counted(&log, "b").is_empty());
}
