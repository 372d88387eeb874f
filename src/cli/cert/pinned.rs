//! The pins of a name's certificates in the text of a config.

use std::path::Path;

use super::generation::Generation;
use crate::cli::revision::{Original, Originals};
use crate::cli::{Failure, output};
use crate::config::{Config, WrittenPin, pins};

/// The files of the config, and their pins of the given generations.
pub(super) struct Pinned {
    originals: Vec<Original>,
    /// Oldest generation first; not empty.
    pins: Vec<Found>,
}

/// A pin in the config.
pub(super) struct Found {
    /// The index of its generation.
    generation: usize,
    /// The index of its file.
    file: usize,
    pub(super) pin: WrittenPin,
}

impl Pinned {
    /// Reads the pins in the current config.
    pub(super) fn read(config: &Config, generations: &[Generation]) -> Result<Self, Failure> {
        let originals: Vec<_> = Originals::read(&config.path)?.into_iter().collect();
        let mut found = Vec::new();
        for (file, original) in originals.iter().enumerate() {
            let generation = |pin: &WrittenPin| {
                generations.iter().position(|one| match pin.key {
                    "certificates" => one.is_at(&original.folder().join(&pin.value)),
                    _ => pin.value.parse().is_ok_and(|pinned| one.is(pinned)),
                })
            };
            let pins = pins(original.text()).into_iter();
            found.extend(pins.filter_map(|pin| Some(Found { generation: generation(&pin)?, file, pin })));
        }
        found.sort_by_key(|found| found.generation);
        match generations.last() {
            Some(newest) if found.is_empty() => Err(Failure::usage(format!(
                "no client of {} pins {}, and the server does not use it; `lictor cert thumbprint` shows its thumbprints",
                config.path.display(),
                newest.files.certificate.display()
            ))),
            _ => Ok(Self { originals, pins: found }),
        }
    }

    /// The pins of all but the newest of `count` generations.
    pub(super) fn old(&self, count: usize) -> Vec<&Found> {
        self.pins.iter().filter(|found| found.generation + 1 < count).collect()
    }

    pub(super) fn has_newest(&self, count: usize) -> bool {
        self.pins.iter().any(|found| found.generation + 1 == count)
    }

    /// Adds a pin of the generation `new` next to the last existing pin.
    pub(super) fn add(&self, new: &Generation) -> Result<(), Failure> {
        let Some(Found { file, pin: beside, .. }) = self.pins.last() else { return Ok(()) };
        let Some(original) = self.originals.get(*file) else { return Ok(()) };
        let file =
            new.files.certificate.file_name().map(|name| Path::new(&beside.value).with_file_name(name));
        let value = match (beside.key, file) {
            ("certificates", Some(file)) => file.display().to_string(),
            _ => new.sha256.to_string(),
        };
        let edited = beside.with_another(original.text(), &value);
        let (path, list) = (original.path().display(), beside.list());
        let by_hand = || output::note(&format!("write \"{value}\" beside \"{}\" in `{list}`", beside.value));
        let replaced = original.check(&edited).and_then(|_| original.replace(&edited));
        replaced.inspect_err(|_| by_hand())?;
        output::line(&format!("{path}: `{list}` has \"{value}\" beside \"{}\"", beside.value))
    }
}
