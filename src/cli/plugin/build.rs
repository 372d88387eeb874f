//! `lictor plugin bindings`, `componentize` and `seal`: build steps that a plugin language's own tools lack.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Failure, options, output};
use crate::author;
use crate::files::{self, read_named};

/// Maximum size of a module or component.
const MAX_BYTES: u64 = 1 << 30;

/// Generate language bindings for a world
///
/// Called by build scripts of plugins in C. Tools of other languages generate bindings themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin bindings --lang c --wit wit --out build/bindings")]
pub(in crate::cli) struct Bindings {
    /// Language of the bindings
    #[arg(long, value_name = "LANG")]
    lang: BindingsLanguage,
    /// Folder of the WIT package
    #[arg(long, value_name = "DIR", default_value = "wit")]
    wit: PathBuf,
    /// World, if the package has several
    #[arg(long, value_name = "NAME")]
    world: Option<String>,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A language whose bindings this program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BindingsLanguage {
    /// C, and languages that can call C
    C,
}

/// Make a component from a core module that was linked with its bindings, and split off its debug information
///
/// Writes the debug information to FILE.debug beside the component. The server uses it to log the source
/// lines of a trap. If the input is already a component, only moves its debug information.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin componentize build/core.wasm -o greet.wasm
  lictor plugin componentize target/wasm32-unknown-unknown/release/greet.wasm -o greet.wasm")]
pub(in crate::cli) struct Componentize {
    /// Core module, or component
    #[arg(value_name = "FILE")]
    module: PathBuf,
    /// Output file for the component
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Remove unneeded imports that a toolchain added to a component
///
/// Calls to removed functions trap inside the component. For instance, Python's standard library always
/// imports wasi:sockets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin seal open.wasm --without wasi:sockets -o greet.wasm")]
pub(in crate::cli) struct Seal {
    /// Component file
    #[arg(value_name = "FILE")]
    component: PathBuf,
    /// Package whose interfaces are removed
    #[arg(long, value_name = "PACKAGE")]
    without: String,
    /// Output file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Bindings {
    pub(super) fn run(self) -> Result<(), Failure> {
        let BindingsLanguage::C = self.lang;
        let files = author::c_bindings(&self.wit, self.world.as_deref())
            .map_err(|error| Failure::failed(format!("{}: {error:#}", self.wit.display())))?;
        for (name, bytes) in files {
            write(&self.out.join(name), &bytes)?;
        }
        Ok(())
    }
}

impl Componentize {
    pub(super) fn run(self) -> Result<(), Failure> {
        want_file(&self.output)?;
        // With links kept: compilers record the folder under the name they were given.
        let folder = self.output.parent().unwrap_or(Path::new(""));
        let root = std::env::current_dir().map(|here| here.join(folder)).unwrap_or_default();
        let root = root.to_string_lossy();
        let built = changed(&self.module, |bytes| author::componentize(bytes, root.trim_end_matches('/')))?;
        let debug = files::debug_file(&self.output);
        match &built.debug {
            Some(bytes) => put(&debug, bytes)?,
            // One of an earlier build describes other code.
            None => remove(&debug)?,
        }
        put(&self.output, &built.component)
    }
}

impl Seal {
    pub(super) fn run(self) -> Result<(), Failure> {
        want_file(&self.output)?;
        let sealed = changed(&self.component, |bytes| author::seal(bytes, &self.without))?;
        put(&self.output, &sealed)
    }
}

/// Refuses a folder as a component's file name, before anything is written.
fn want_file(output: &Path) -> Result<(), Failure> {
    match output.is_dir() {
        true => Err(Failure::usage(format!("{} is a folder: name the component's file", output.display()))),
        false => Ok(()),
    }
}

/// Applies `change` to the contents of the file `from`.
fn changed<T>(from: &Path, change: impl Fn(&[u8]) -> anyhow::Result<T>) -> Result<T, Failure> {
    let told = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", from.display()));
    let bytes = read_named(from, MAX_BYTES).map_err(|fault| told(&fault.what()))?;
    change(&bytes).map_err(|error| told(&format_args!("{error:#}")))
}

/// Writes a file and reports it.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes)?;
    output::note(&format!("{}: {}", path.display(), options::bytes(bytes.len())));
    Ok(())
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| files::put(path, 0o666, bytes))
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}
