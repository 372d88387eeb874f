//! Commands that report everything visible to a plugin.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use crate::lictor::plugin::request;
use crate::{Answer, failure, number};

pub fn alloc(args: &[String]) -> Answer {
    let size = number(args)?;
    black_box(vec![1_u8; size as usize]);
    Ok(format!("held {size}").into_bytes())
}

/// Number of calls of this instance: 1 if every request has a fresh one.
pub fn leak(_: &[String]) -> Answer {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    Ok((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string().into_bytes())
}

pub fn whoami(_: &[String]) -> Answer {
    let caller = request::caller();
    Ok(format!("{} {}", caller.name, caller.thumbprint).into_bytes())
}

pub fn header(args: &[String]) -> Answer {
    let name = args.first().ok_or_else(|| failure("bad-arguments", "header NAME"))?;
    Ok(format!("{:?}", request::header(name)).into_bytes())
}

pub fn headers(_: &[String]) -> Answer {
    let mut text = String::new();
    for (name, value) in request::headers() {
        let _ = writeln!(text, "{name:?} {value:?}");
    }
    Ok(text.into_bytes())
}

pub fn body(_: &[String]) -> Answer {
    Ok(request::body())
}

pub fn body_size(_: &[String]) -> Answer {
    Ok(request::body().len().to_string().into_bytes())
}

pub fn time_left(_: &[String]) -> Answer {
    Ok(request::time_left_ms().to_string().into_bytes())
}

pub fn id(_: &[String]) -> Answer {
    Ok(request::id().into_bytes())
}

pub fn args(args: &[String]) -> Answer {
    let lines: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
    Ok(lines.join("\n").into_bytes())
}

pub fn env(_: &[String]) -> Answer {
    let mut text = String::new();
    for (name, value) in std::env::vars_os() {
        let _ = writeln!(text, "variable {name:?} {value:?}");
    }
    for argument in std::env::args_os() {
        let _ = writeln!(text, "argument {argument:?}");
    }
    Ok(text.into_bytes())
}

/// One line per attempt: `refused` or the result.
pub fn files(_: &[String]) -> Answer {
    let attempts: [(&str, io::Result<String>); 6] = [
        ("list /", list("/")),
        ("list .", list(".")),
        ("read /etc/passwd", fs::read_to_string("/etc/passwd")),
        ("read server.toml", fs::read_to_string("server.toml")),
        ("write hostile.txt", fs::write("hostile.txt", "x").map(|()| "written".into())),
        ("write /tmp/hostile.txt", fs::write("/tmp/hostile.txt", "x").map(|()| "written".into())),
    ];
    let mut text = String::new();
    for (attempt, result) in attempts {
        let _ = match result {
            Ok(got) => writeln!(text, "{attempt}: got {got:?}"),
            Err(_) => writeln!(text, "{attempt}: refused"),
        };
    }
    Ok(text.into_bytes())
}

fn list(folder: &str) -> io::Result<String> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path().display().to_string())).collect()
}

/// Differs between calls if the host's random numbers do.
pub fn random(_: &[String]) -> Answer {
    Ok(format!("{:016x}", RandomState::new().hash_one(0_u8)).into_bytes())
}
