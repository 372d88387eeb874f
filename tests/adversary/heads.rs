//! Heads that are broken, and heads that arrive in tiny pieces.

use testkit::peer::Peer;

use crate::{assert_serves, server_with};

/// Limit on a head in bytes.
const MOST: usize = 8192;

#[test]
fn a_head_in_records_of_one_byte_is_one_head() {
    let (server, tester) = server_with("");
    let mut peer = Peer::admitted(server.address(), &tester);
    let head = format!("body-size\r\nX: {}\r\n\r\n", "x".repeat(MOST - 18));
    assert_eq!(head.len(), MOST);
    peer.send_in_records_of(1, head.as_bytes()).unwrap();
    assert_eq!(peer.read().unwrap(), b"0\r\n\r\n");

    // The head is refused at its last byte, or before: nothing more is read, so sending the rest may fail.
    let _ = peer.send_in_records_of(1, head.replace("X: ", "X: x").as_bytes());
    let told = peer.read_to_end();
    assert!(told.starts_with("ERR Bad request: the head is longer than 8192 bytes"), "{told:?}");
    assert_serves(&server, &tester);
}

#[test]
fn hundreds_of_broken_heads_are_told_and_forgotten() {
    let (server, tester) = server_with("");
    let giant = "x".repeat(1 << 20);
    let broken: [&[u8]; 9] = [
        b"\r\n\r\n",
        b"\n",
        b"\0\0\0\0",
        b"\xff\xfe\xfd",
        b"echo \"\r\n\r\n",
        b"echo\r\nSize: -1\r\n\r\n",
        b"echo\r\nSize: 18446744073709551615\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        giant.as_bytes(),
    ];
    for _ in 0..30 {
        for bytes in broken {
            let mut peer = Peer::admitted(server.address(), &tester);
            // The server may close before everything is sent.
            let _ = peer.send([bytes, b"\r\n\r\necho never\r\n\r\n"].concat());
            let told = peer.read_to_end();
            assert!(told.starts_with("ERR Bad request: "), "{told:?}");
            assert!(told.ends_with("\r\n\r\n") && told.matches("\r\n").count() == 2, "{told:?}");
        }
    }
    assert_serves(&server, &tester);
}
