//! The log of a server, as its config has it.

use tracing::Level;

use crate::config::{Config, LogFormat, LogLevel};
use crate::telemetry::{self, Format};

pub(super) fn start_log(config: &Config) -> telemetry::Log {
    telemetry::init(level(config.log.level), format(config.log.format))
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    }
}

fn format(format: LogFormat) -> Format {
    match format {
        LogFormat::Auto => Format::fitting(),
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    }
}
