//! The corpora of the fuzz targets, replayed without a fuzzer, so that earlier findings stay covered.
//!
//! Add a finding as a separate file in `fuzz/corpus/TARGET/`, named after its fault.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "in a binary nothing is reachable")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

// The fuzz targets are a workspace of another compiler, and their library stands in for `lictor`.
#[path = "../fuzz/harness.rs"]
mod harness;

/// Lists a folder below `fuzz/`.
fn entries(folder: &str) -> BTreeSet<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn stems(paths: &BTreeSet<PathBuf>) -> BTreeSet<&str> {
    paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect()
}

#[test]
fn every_target_survives_its_corpus() {
    let mut failed = Vec::new();
    for (target, run) in harness::TARGETS {
        let corpus = entries(&format!("corpus/{target}"));
        assert!(!corpus.is_empty(), "the corpus of {target} is empty");
        for seed in corpus {
            let bytes = fs::read(&seed).unwrap();
            if catch_unwind(|| run(&bytes)).is_err() {
                failed.push(seed.display().to_string());
            }
        }
    }
    assert!(failed.is_empty(), "these are not survived: {}", failed.join(", "));
}

#[test]
fn every_target_has_a_harness_and_a_corpus() {
    let (targets, corpora) = (entries("targets"), entries("corpus"));
    let known = harness::TARGETS.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>();
    assert_eq!(stems(&targets), known, "each file in fuzz/targets/ has its line in TARGETS");
    assert_eq!(stems(&corpora), known, "each target has a folder in fuzz/corpus/");
}
