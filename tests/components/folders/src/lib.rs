//! A plugin that reads folders, and tries forbidden operations.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use std::fs::{self, File, OpenOptions, ReadDir};
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags as Flags, PathFlags};

struct Folders;

export!(Folders);

impl Guest for Folders {
    fn describe() -> Vec<CommandInfo> {
        Vec::new()
    }

    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
        let done = match arguments[..] {
            ["read", path] => fs::read(path),
            ["list", path] => list(path),
            ["size", path] => fs::metadata(path).map(|found| found.len().to_string().into_bytes()),
            ["hold", count, path] => Ok(hold(count.parse().unwrap_or(0), path)),
            ["hold-lists", count, path] => hold_lists(count.parse().unwrap_or(0), path),
            ["sit", count, path] => sit(count.parse().unwrap_or(0), path),
            ["hold-streams", count] => Ok(hold_streams(count.parse().unwrap_or(0))),
            ["write", path] => nothing(OpenOptions::new().write(true).open(path)),
            ["append", path] => nothing(OpenOptions::new().append(true).open(path)),
            ["truncate", path] => nothing(OpenOptions::new().write(true).truncate(true).open(path)),
            ["create", path] => nothing(File::create_new(path)),
            ["make-folder", path] => nothing(fs::create_dir(path)),
            ["remove", path] => nothing(fs::remove_file(path)),
            ["remove-folder", path] => nothing(fs::remove_dir(path)),
            ["rename", from, to] => nothing(fs::rename(from, to)),
            ["link", from, to] => nothing(fs::hard_link(from, to)),
            ["touch", path] => {
                nothing(File::open(path).and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH)))
            }
            ["shorten", path] => nothing(File::open(path).and_then(|file| file.set_len(0))),
            _ => return Err(Failure { code: "bad-arguments".into(), message: String::new() }),
        };
        done.map_err(|error| Failure { code: "failed".into(), message: told(&error) })
    }
}

fn nothing<T>(done: io::Result<T>) -> io::Result<Vec<u8>> {
    done.map(|_| Vec::new())
}

fn list(path: &str) -> io::Result<Vec<u8>> {
    let names: io::Result<Vec<String>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names?;
    names.sort();
    Ok(names.join(" ").into_bytes())
}

/// Lists the same folder repeatedly, and keeps the lists; returns their number.
fn hold_lists(count: usize, path: &str) -> io::Result<Vec<u8>> {
    Ok(lists(count, path)?.len().to_string().into_bytes())
}

fn lists(count: usize, path: &str) -> io::Result<Vec<ReadDir>> {
    let list = |_| {
        let mut list = fs::read_dir(path)?;
        list.next().transpose()?;
        Ok(list)
    };
    (0..count).map(list).collect()
}

/// Lists the folder, opens it as often as allowed, says so, and keeps everything for an hour.
fn sit(count: usize, path: &str) -> io::Result<Vec<u8>> {
    let lists = lists(count, path)?;
    let opened: Vec<File> = (0..100).map_while(|_| File::open(path).ok()).collect();
    println!("sits");
    std::thread::sleep(Duration::from_secs(3600));
    Ok(format!("{} {}", lists.len(), opened.len()).into_bytes())
}

/// Opens streams of the first file of the first folder, by plain WASI; returns the number of successes, and
/// the error after them.
fn hold_streams(count: usize) -> Vec<u8> {
    let folders = get_directories();
    let (flags, read) = (Flags::empty(), DescriptorFlags::READ);
    let opened = folders.first().map(|(folder, _)| folder.open_at(PathFlags::empty(), "a.txt", flags, read));
    let Some(Ok(file)) = opened else { return b"no file".to_vec() };
    let mut held = Vec::new();
    for _ in 0..count {
        match file.read_via_stream(0) {
            Ok(stream) => held.push(stream),
            Err(error) => return format!("{} {error:?}", held.len()).into_bytes(),
        }
    }
    held.len().to_string().into_bytes()
}

/// Opens a file repeatedly, and keeps it open; returns the number of successes, and the error after them.
fn hold(count: usize, path: &str) -> Vec<u8> {
    let mut held = Vec::new();
    for _ in 0..count {
        match File::open(path) {
            Ok(file) => held.push(file),
            Err(error) => return format!("{} {}", held.len(), told(&error)).into_bytes(),
        }
    }
    let mut text = String::new();
    held.iter_mut().for_each(|file| drop(file.read_to_string(&mut text)));
    held.len().to_string().into_bytes()
}

fn told(error: &io::Error) -> String {
    format!("{:?} ({})", error.kind(), error.raw_os_error().unwrap_or(0))
}
