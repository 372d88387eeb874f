//! Commands whose replies are hard to send.

use crate::{Answer, failure, number};

pub fn big(args: &[String]) -> Answer {
    Ok(vec![b'x'; number(args)? as usize])
}

pub fn blank_line(_: &[String]) -> Answer {
    Ok(b"a\r\n\r\nb".to_vec())
}

pub fn ends_crlf(_: &[String]) -> Answer {
    Ok(b"a\r\n".to_vec())
}

pub fn not_utf8(_: &[String]) -> Answer {
    Ok(vec![0xff, 0xfe])
}

pub fn fail(args: &[String]) -> Answer {
    match args {
        [code, message @ ..] => Err(failure(code, &message.join(" "))),
        [] => Err(failure("bad-arguments", "fail CODE MESSAGE")),
    }
}

pub fn fail_big(_: &[String]) -> Answer {
    Err(failure(&"c".repeat(1 << 18), &"m".repeat(1 << 18)))
}
