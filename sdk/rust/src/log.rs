//! Events with a level in the server's log, where `logging = true` is granted.
//!
//! ```no_run
//! use lictor_plugin::log;
//!
//! log::warn!("the file has {} lines", 3);
//! ```
//!
//! The event's context is the module that calls the macro.

use crate::host::logging;

pub use crate::bindings::wasi::logging::logging::Level;
#[doc(inline)]
pub use crate::{
    __log_critical as critical, __log_debug as debug, __log_error as error, __log_info as info,
    __log_trace as trace, __log_warn as warn,
};

/// Logs an event. `context` names the part of the plugin that it comes from.
pub fn event(level: Level, context: &str, message: &str) {
    logging::log(level, context, message);
}

// Written out one by one: a macro made by another macro can't be named by a path.

/// Logs the finest detail.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($arguments:tt)*) => { $crate::__log!(Trace, $($arguments)*) };
}

/// Logs details that help to find a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)*) => { $crate::__log!(Debug, $($arguments)*) };
}

/// Logs something an operator may want to know.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)*) => { $crate::__log!(Info, $($arguments)*) };
}

/// Logs something that may become a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)*) => { $crate::__log!(Warn, $($arguments)*) };
}

/// Logs a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)*) => { $crate::__log!(Error, $($arguments)*) };
}

/// Logs a fault from which the plugin can't recover.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_critical {
    ($($arguments:tt)*) => { $crate::__log!(Critical, $($arguments)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($arguments:tt)*) => {
        $crate::log::event(
            $crate::log::Level::$level,
            ::std::module_path!(),
            &::std::format!($($arguments)*),
        )
    };
}
