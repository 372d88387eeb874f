//! Lines in the server's log, without a grant and without WASI.

use crate::host::output;

/// Most bytes passed to the host at once. It takes 16 MiB, logs 64 KiB of a call, and counts the rest.
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

/// Logs pending output of `print!` as this call's: the standard library keeps a line until it ends, and a
/// warm instance would print it for the next client.
pub(crate) fn flush() {
    // On other targets the standard library prints nothing, and a plugin is smaller without that part of it.
    #[cfg(target_os = "wasi")]
    {
        // Nobody can be told that the log is unavailable.
        let _ = std::io::Write::flush(&mut std::io::stdout());
    }
}

/// Logs a line, formatted as by `println!`.
///
/// `println!` itself reaches the log in a plugin built for `wasm32-wasip2`, and goes nowhere in any other.
#[macro_export]
macro_rules! log_line {
    ($($arguments:tt)*) => {
        $crate::output::print(&::std::format!($($arguments)*))
    };
}
