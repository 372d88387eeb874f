//! A plugin that prints: through the standard library, which keeps a line until it ends, and through the SDK.

use std::io::{Write, stdout};

use lictor_plugin::prelude::*;

#[plugin]
mod commands {
    /// prints a text without an end of the line
    #[command]
    fn half(text: &str) -> &'static str {
        print!("{text}");
        "printed"
    }

    /// the same to standard error
    #[command]
    fn half_err(text: &str) -> &'static str {
        eprint!("{text}");
        "printed"
    }

    /// prints a text without an end of the line, and fails
    #[command]
    fn half_fail(text: &str) -> Failure {
        print!("{text}");
        Failure::conflict("printed")
    }

    /// prints a text without an end of the line, and panics
    #[command]
    fn half_panic(text: &str) {
        print!("{text}");
        panic!("as it was told")
    }

    /// prints a line of one character, and another line
    #[command]
    fn line(character: char, count: usize) -> &'static str {
        println!("{}\nbehind it", character.to_string().repeat(count));
        "printed"
    }

    /// the same, byte by byte
    #[command]
    fn bytes(character: char, count: usize) -> &'static str {
        let mut stdout = stdout();
        for byte in character.to_string().repeat(count).bytes() {
            let _ = stdout.write_all(&[byte]);
            let _ = stdout.flush();
        }
        println!("\nbehind it");
        "printed"
    }

    /// the same through the SDK
    #[command]
    fn logged(character: char, count: usize) -> &'static str {
        log_line!("{}\nbehind it", character.to_string().repeat(count));
        "printed"
    }

    /// prints numbered lines
    #[command]
    fn lines(count: usize, length: usize) -> &'static str {
        for number in 0..count {
            println!("{number:0length$}");
        }
        "printed"
    }
}
