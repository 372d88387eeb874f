//! The pins of a name's certificates in the text of a config.

use std::path::Path;

use super::generation::Generation;
use crate::cli::{Failure, output};
use crate::config::{self, Config, WrittenPin, pins};
use crate::files::{put_alike, read_named};

/// The config's text, and its pins of the given generations.
pub(super) struct Pinned {
    text: String,
    /// Each pin with the index of its generation, oldest first; not empty.
    pub(super) pins: Vec<(usize, WrittenPin)>,
}

impl Pinned {
    /// Reads the pins in the current config.
    pub(super) fn read(config: &Config, generations: &[Generation]) -> Result<Self, Failure> {
        const MAX_CONFIG_BYTES: u64 = 16 << 20;
        let told = |why: &str| Failure::failed(format!("{}: {why}", config.path.display()));
        let bytes = read_named(&config.path, MAX_CONFIG_BYTES).map_err(|fault| told(&fault.what()))?;
        let text = String::from_utf8(bytes).map_err(|_| told("it is no text"))?;
        let folder = config.path.parent().unwrap_or(Path::new("."));
        let place = |pin: &WrittenPin| {
            generations.iter().position(|one| match pin.key {
                "certificates" => one.is_at(&folder.join(&pin.value)),
                _ => pin.value.parse().is_ok_and(|pinned| one.is(pinned)),
            })
        };
        let mut pins: Vec<_> = pins(&text).into_iter().filter_map(|pin| Some((place(&pin)?, pin))).collect();
        pins.sort_by_key(|(place, _)| *place);
        match generations.last() {
            Some(newest) if pins.is_empty() => Err(Failure::usage(format!(
                "no client of {} pins {}, and the server does not use it; `lictor cert thumbprint` shows its thumbprints",
                config.path.display(),
                newest.files.certificate.display()
            ))),
            _ => Ok(Self { text, pins }),
        }
    }

    /// The pins of all but the newest of `count` generations.
    pub(super) fn old(&self, count: usize) -> Vec<&(usize, WrittenPin)> {
        self.pins.iter().filter(|(place, _)| place + 1 < count).collect()
    }

    pub(super) fn has_newest(&self, count: usize) -> bool {
        self.pins.iter().any(|(place, _)| place + 1 == count)
    }

    /// Adds a pin of the generation `new` next to the last existing pin.
    pub(super) fn add(&self, config: &Config, new: &Generation) -> Result<(), Failure> {
        let Some((_, beside)) = self.pins.last() else { return Ok(()) };
        let file =
            new.files.certificate.file_name().map(|name| Path::new(&beside.value).with_file_name(name));
        let value = match (beside.key, file) {
            ("certificates", Some(file)) => file.display().to_string(),
            _ => new.sha256.to_string(),
        };
        let edited = beside.with_another(&self.text, &value);
        let (path, list) = (config.path.display(), beside.list());
        let told = |why: String| {
            let by_hand = format!("write \"{value}\" beside \"{}\" in `{list}`", beside.value);
            Failure::failed(format!("{path} can't be changed: {why}; {by_hand}"))
        };
        if config::parse_of_anybody(&config.path, &edited).is_err() {
            return Err(told("it would no longer be a valid config".to_owned()));
        }
        put_alike(&config.path, edited.as_bytes()).map_err(|error| told(error.to_string()))?;
        output::line(&format!("{path}: `{list}` has \"{value}\" beside \"{}\"", beside.value))
    }
}
