//! `watch`: shows text appended to a file as it arrives. Needs `files = ["FILE"]`, and a `timeout` longer
//! than the file is ever quiet.

use lictor_plugin::clock;
use lictor_plugin::prelude::*;

/// Default interval between polls of the file.
const EVERY: Duration = Duration::from_millis(500);

#[plugin]
mod commands {
    /// streams the bytes appended to a file, until cancelled
    #[command(idempotent)]
    async fn watch(reply: &mut Writer, file: &str, every: Option<Duration>) -> Result<(), Failure> {
        let every = every.unwrap_or(EVERY);
        // The client chooses the file.
        let mut seen = files::read(file).map_err(Failure::as_is)?.len();
        loop {
            clock::sleep(every);
            let now = files::read(file).map_err(Failure::as_is)?;
            reply.write(news(seen, &now)).await?;
            seen = now.len();
        }
    }
}

/// Returns the bytes appended to a file of `seen` bytes that is `now`. A shorter file is a different one.
fn news(seen: usize, now: &[u8]) -> &[u8] {
    now.get(seen..).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_is_told() {
        assert_eq!(news(0, b"one\n"), b"one\n");
        assert_eq!(news(4, b"one\n"), b"");
        assert_eq!(news(4, b"one\ntwo\n"), b"two\n");
        assert_eq!(news(8, b"new\n"), b"new\n");
    }
}
