//! Options that several verbs for authors have, in the notation and the ranges of the config file.

use std::time::Duration;

use crate::author::Compiling;
use crate::config::{ByteSize, Limits, TimeSpan, bounds};

/// Limits on compiling a component, if they differ from a config file's defaults.
#[derive(Debug, clap::Args)]
pub(super) struct CompileOptions {
    /// Maximum size of the component [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| size(text, "limits", "component_size"))]
    component_size: Option<ByteSize>,
    /// Maximum memory to compile it [default: 2GiB]
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| size(text, "limits", "compile_memory"))]
    compile_memory: Option<ByteSize>,
    /// Maximum time to compile it [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = |text: &str| time(text, "limits", "compile_time"))]
    compile_time: Option<TimeSpan>,
}

impl CompileOptions {
    pub(super) fn compiling(&self) -> Compiling {
        let limits = Limits::default();
        let bytes = |given: &Option<ByteSize>, otherwise| {
            given.as_ref().map_or(otherwise, |size| usize::try_from(size.bytes()).unwrap_or(usize::MAX))
        };
        let time = self.compile_time.as_ref();
        Compiling::by_itself(
            bytes(&self.component_size, limits.component_bytes),
            bytes(&self.compile_memory, limits.compile_memory_bytes),
            time.map_or(limits.compile_time, |time| Duration::from_millis(time.milliseconds())),
        )
    }
}

/// Parses a size in the config files' notation, within the range of this key.
pub(super) fn size(text: &str, section: &str, key: &str) -> Result<ByteSize, String> {
    let size = ByteSize::try_from(text.to_owned()).map_err(|refusal| refusal.to_string())?;
    within(section, key, size.bytes()).map(|()| size)
}

/// Parses a time in the config files' notation, within the range of this key.
pub(super) fn time(text: &str, section: &str, key: &str) -> Result<TimeSpan, String> {
    let time = TimeSpan::try_from(text.to_owned()).map_err(|refusal| refusal.to_string())?;
    within(section, key, time.milliseconds()).map(|()| time)
}

/// Refuses an amount that is out of this key's range in a config file.
pub(super) fn within(section: &str, key: &str, amount: u64) -> Result<(), String> {
    let bound = bounds().find(|bound| (bound.section, bound.key) == (section, key));
    bound.and_then(|bound| bound.exceeded_by(amount)).map_or(Ok(()), Err)
}

/// Formats a number of bytes for people.
pub(super) fn bytes(count: usize) -> String {
    const KIB: f64 = 1024.0;
    match count as f64 {
        small if small < KIB => format!("{count} B"),
        middle if middle < KIB * KIB => format!("{:.1} KiB", middle / KIB),
        large => format!("{:.1} MiB", large / KIB / KIB),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn defaults_of_compiling_are_told_as_they_are() {
        let limits = super::Limits::default();
        let held = [
            ("component_size", limits.component_bytes.to_string()),
            ("compile_memory", limits.compile_memory_bytes.to_string()),
            ("compile_time", limits.compile_time.as_millis().to_string()),
        ];
        let told = <super::CompileOptions as clap::Args>::augment_args(clap::Command::new("x"));
        for (key, value) in held {
            let bound = crate::config::bounds().find(|bound| bound.key == key).unwrap();
            assert_eq!(bound.default.unwrap().to_string(), value);
            let argument = told.get_arguments().find(|argument| argument.get_id() == key).unwrap();
            let help = argument.get_help().unwrap().to_string();
            assert!(
                help.ends_with(&format!("[default: {}]", bound.written(bound.default.unwrap()))),
                "{help}"
            );
        }
    }

    #[test]
    fn options_of_running_have_the_defaults_of_the_config() {
        let told = <crate::cli::plugin::run::Run as clap::Args>::augment_args(clap::Command::new("x"));
        for (section, key, option) in [
            ("plugins.NAME", "memory", "memory"),
            ("plugins.NAME", "reply", "reply"),
            ("plugins.NAME", "host_calls", "host_calls"),
            ("plugins.NAME", "host_bytes", "host_bytes"),
            ("limits", "body", "body_size"),
        ] {
            let mut bounds = crate::config::bounds();
            let bound = bounds.find(|bound| (bound.section, bound.key) == (section, key)).unwrap();
            let argument = told.get_arguments().find(|argument| argument.get_id() == option).unwrap();
            let [default] = argument.get_default_values() else { panic!("{option}") };
            assert_eq!(default.to_str().unwrap(), bound.written(bound.default.unwrap()), "{option}");
        }
    }

    #[test]
    fn options_of_compiling_have_the_ranges_of_the_config() {
        for key in ["component_size", "compile_memory", "compile_time", "memory"] {
            let bound = crate::config::bounds().find(|bound| bound.key == key).unwrap();
            let option = format!("--{}", key.replace('_', "-"));
            let parse = |amount| {
                let written = bound.written(amount);
                let line = ["lictor", "plugin", "run", option.as_str(), written.as_str(), "x.wasm", "x"];
                <crate::cli::Cli as clap::Parser>::try_parse_from(line)
            };
            assert!(parse(bound.least).is_ok() && parse(bound.most).is_ok(), "{key}");
            let below = parse(bound.least - 1).unwrap_err().to_string();
            assert!(below.contains(&bound.exceeded_by(bound.least - 1).unwrap()), "{below}");
            assert!(parse(bound.most + 1).is_err(), "{key}");
        }
    }

    #[test]
    fn bytes_are_shown_in_a_fitting_unit() {
        for (count, shown) in [(0, "0 B"), (1023, "1023 B"), (9520, "9.3 KiB"), (16 << 20, "16.0 MiB")] {
            assert_eq!(super::bytes(count), shown);
        }
    }
}
