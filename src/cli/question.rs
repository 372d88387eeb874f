//! Questions to the user at a terminal.

use std::io::{self, BufRead};

use super::{Failure, output};

/// Asks, and returns the line that is typed, without the spaces around it; nothing at the end of the input.
pub(super) fn ask(question: &str) -> Result<String, Failure> {
    output::question(question);
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::failed(format!("cannot ask: {error}")))?;
    Ok(answer.trim().to_owned())
}

/// Asks for a yes; anything else is a no.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    Ok(is_yes(&ask(&format!("{question} [y/N] "))?))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for answer in ["y\n", "Y", " yes \r\n", "YES"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n", "ye", "y n", "no"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
