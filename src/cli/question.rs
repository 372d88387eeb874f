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

/// Asks for a yes or a no, again until one of them is typed. An empty line and the end of the input are a no.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    let mut asked = format!("{question} [y/N] ");
    loop {
        if let Some(answer) = meaning(&ask(&asked)?) {
            return Ok(answer);
        }
        asked = "Answer y for yes, or n for no. [y/N] ".to_owned();
    }
}

/// The yes or the no that an answer means.
fn meaning(answer: &str) -> Option<bool> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "" | "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_or_no_is_one() {
        for answer in ["y\n", "Y", " yes \r\n", "YES"] {
            assert_eq!(meaning(answer), Some(true), "{answer:?}");
        }
        for answer in ["", "\n", "n", "no", " NO\n"] {
            assert_eq!(meaning(answer), Some(false), "{answer:?}");
        }
        for answer in ["ye", "y n", "default", "j", "1"] {
            assert_eq!(meaning(answer), None, "{answer:?}");
        }
    }
}
