//! Lines in the server's log, without any grant and without WASI.

/// Logs `text`, line by line, marked with the plugin and the request.
pub fn print(text: &str) {
    crate::bindings::lictor::plugin::output::print(text);
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
