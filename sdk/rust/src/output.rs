//! Lines in the server's log, without any grant and without WASI.

use crate::host::output;

/// What crosses at once, in bytes. The host takes 16 MiB; of a call it logs 64 KiB and counts the rest.
const PIECE_BYTES: usize = 1 << 20;

/// Logs `text`, line by line, marked with the plugin and the request.
pub fn print(text: &str) {
    if text.len() <= PIECE_BYTES {
        return output::print(text);
    }
    output::print("");
    text.as_bytes().chunks(PIECE_BYTES).for_each(output::write);
    output::print("");
}

/// Has what `print!` printed logged, as this call's: the standard library keeps a line until it ends, and a warm instance
/// would print it for the next client.
pub(crate) fn flush() {
    // Elsewhere nothing is printed by the standard library, and a plugin is smaller without that part of it.
    #[cfg(target_os = "wasi")]
    {
        // There is nobody to be told that the log can't be had.
        let _ = std::io::Write::flush(&mut std::io::stdout());
    }
}

/// Logs a line, formatted as by `println!`.
///
/// `println!` itself reaches the log where the plugin is built for `wasm32-wasip2`, and nothing elsewhere.
#[macro_export]
macro_rules! log_line {
    ($($arguments:tt)*) => {
        $crate::output::print(&::std::format!($($arguments)*))
    };
}
