//! Clients that connect and disconnect: in good order, in the middle of something, with partly read streams.

use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::client::{Connection, Frame};
use testkit::peer::Peer;

use crate::{Shift, Soak};

/// Connects, sends a few requests, and leaves in good order: at once, after its last reply, or after ending
/// its own side first.
pub fn come_and_go(soak: &Soak, shift: &Shift<'_>) {
    shift.each(Duration::from_millis(150), |round| {
        let mut connection = soak.server.connect(&soak.passing);
        match round % 3 {
            0 => {}
            1 => assert_eq!(connection.ask("echo hello"), "hello"),
            _ => connection.send("sleep 20\r\n\r\necho b\r\n\r\n"),
        }
        connection.end_sending();
        if round % 3 == 2 {
            assert_eq!((connection.read_reply(), connection.read_reply()), ("slept".into(), "b".into()));
        }
        connection.assert_closed();
        soak.tally.answers.fetch_add([0, 1, 2][(round % 3) as usize], Ordering::Relaxed);
    });
}

/// Connects, and breaks off at an inconvenient moment.
pub fn break_off(soak: &Soak, shift: &Shift<'_>) {
    shift.each(Duration::from_millis(150), |round| {
        let mut peer = Peer::admitted(soak.server.address(), &soak.passing);
        match round % 5 {
            // While its commands run.
            0 => {
                for (number, command) in ["spin", "sleep 60000", "grow", "flood"].iter().enumerate() {
                    peer.send(format!("{command}\r\nSequence: {number}\r\n\r\n")).unwrap();
                }
                peer.reset();
            }
            // While its write is on the way to the disk.
            1 => {
                soak.tally.torn.sent.fetch_add(1, Ordering::Relaxed);
                peer.send("kv-increment torn\r\n\r\n").unwrap();
                peer.reset();
            }
            // While its replies are on their way.
            2 => {
                let request = |number| format!("big 60000\r\nSequence: {number}\r\n\r\n");
                peer.send((0..8).map(request).collect::<String>()).unwrap();
                assert!(peer.read().unwrap().starts_with(b"OK\r\nSequence: "));
                peer.reset();
            }
            // In a request, without a close_notify.
            3 => {
                peer.send("echo a\r\n\r\necho cut-off\r\nSize: 7\r\n\r\n").unwrap();
                peer.cut_sending();
                assert!(!peer.read_to_end().contains("cut-off"));
            }
            // Between two requests, without a close_notify.
            _ => {
                soak.tally.torn.sent.fetch_add(1, Ordering::Relaxed);
                peer.send("kv-increment torn\r\nSequence: 1\r\n\r\n").unwrap();
                assert!(peer.read().unwrap().starts_with(b"OK\r\nSequence: 1\r\n"));
                soak.tally.torn.acknowledged.fetch_add(1, Ordering::Relaxed);
                soak.tally.answers.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
}

/// Starts streams: one that completes, one that is cancelled, one that stalls, one that nobody reads.
pub fn stream(soak: &Soak, shift: &Shift<'_>) {
    let mut connection = soak.server.connect(&soak.passing);
    shift.each(Duration::from_millis(200), |_| {
        begin(&mut connection, "count 10 2");
        let (whole, end) = read_stream(&mut connection);
        assert_eq!((whole.as_slice(), end.text()), (b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n".as_slice(), ""));

        begin(&mut connection, "count 1000000 1");
        assert_eq!(connection.read_frame().status, "PART");
        connection.send("@cancel s\r\nSequence: c\r\n\r\n");
        let (mut ends, mut frames) = (0, 0);
        while ends < 2 {
            let frame = connection.read_frame();
            frames += 1;
            match (frame.status.as_str(), frame.field("Sequence")) {
                ("PART", Some("s")) => {}
                ("OK", Some("c")) => ends += 1,
                ("ERR", Some("s")) => {
                    assert_eq!(frame.failure(), ("cancelled", "unknown"));
                    ends += 1;
                }
                _ => panic!("{frame:?} after {frames} frames"),
            }
        }

        begin(&mut connection, "stall 1");
        let (whole, end) = read_stream(&mut connection);
        assert_eq!((whole.as_slice(), end.failure()), (b"1\n".as_slice(), ("timeout", "unknown")));

        let mut unread = Peer::admitted(soak.server.address(), &soak.passing);
        unread.send("count 100000000\r\nSequence: s\r\n\r\ncount 1000000 1\r\nSequence: t\r\n\r\n").unwrap();
        assert!(unread.read().unwrap().starts_with(b"PART\r\n"));
        unread.reset();
        soak.tally.answers.fetch_add(4, Ordering::Relaxed);
    });
}

fn begin(connection: &mut Connection, line: &str) {
    connection.send(format!("{line}\r\nSequence: s\r\n\r\n"));
}

/// Returns the bytes of all parts of the stream, and the frame that ends it.
fn read_stream(connection: &mut Connection) -> (Vec<u8>, Frame) {
    let mut whole = Vec::new();
    loop {
        let frame = connection.read_frame();
        if frame.status != "PART" {
            return (whole, frame);
        }
        whole.extend(frame.body);
    }
}
