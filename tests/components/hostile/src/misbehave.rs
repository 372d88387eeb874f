//! Commands that do not end, or end badly.

use std::hint::black_box;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;

use crate::{Answer, number};

pub fn spin(_: &[String]) -> Answer {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub fn grow(_: &[String]) -> Answer {
    let mut kept = Vec::new();
    loop {
        // Ones, so that every page is touched.
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Grows a hundred times a second, touching nothing, until it gets no more memory; then it traps.
pub fn creep(args: &[String]) -> Answer {
    println!("creeping");
    while core::arch::wasm32::memory_grow::<0>(1) != usize::MAX {
        std::thread::sleep(Duration::from_millis(10));
    }
    trap(args)
}

pub fn recurse(_: &[String]) -> Answer {
    Ok(deeper(0).to_string().into_bytes())
}

/// The addition after the call keeps the optimizer from turning it into a loop.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) + 1 }
}

/// Exhausts the stack in its memory, of which each call takes a good part.
pub fn deep(_: &[String]) -> Answer {
    Ok(larger(0).to_string().into_bytes())
}

/// Written word by word: an instruction that fills memory does not report where it failed.
#[inline(never)]
fn larger(depth: u64) -> u64 {
    let mut frame = [const { MaybeUninit::uninit() }; 64];
    for word in &mut frame {
        word.write(depth);
    }
    black_box(&frame);
    if black_box(depth) == u64::MAX { 0 } else { larger(depth + 1) + 1 }
}

pub fn trap(_: &[String]) -> Answer {
    core::arch::wasm32::unreachable()
}

pub fn panic(args: &[String]) -> Answer {
    panic!("{}", args.join(" "))
}

pub fn exit(args: &[String]) -> Answer {
    std::process::exit(number(args)? as i32)
}

/// Waits in the host, not in the plugin.
pub fn sleep(args: &[String]) -> Answer {
    std::thread::sleep(Duration::from_millis(number(args)?));
    Ok(b"slept".to_vec())
}

/// Makes this many timers, which are never waited for or returned.
pub fn hoard(args: &[String]) -> Answer {
    let count = number(args)?;
    (0..count).map(|_| subscribe_duration(u64::MAX)).for_each(std::mem::forget);
    Ok(count.to_string().into_bytes())
}

pub fn flood(args: &[String]) -> Answer {
    lines(io::stdout(), args)
}

pub fn flood_err(args: &[String]) -> Answer {
    lines(io::stderr(), args)
}

/// Writes lines of 100 bytes: as many as make up the given number of bytes, or endlessly.
fn lines(mut to: impl Write, args: &[String]) -> Answer {
    let line = format!("{}\n", "flood".repeat(20));
    let mut left = if args.is_empty() { u64::MAX } else { number(args)? };
    while left > 0 {
        // A host may refuse more output; this plugin goes on regardless.
        let _ = to.write_all(line.as_bytes());
        left = left.saturating_sub(line.len() as u64);
    }
    Ok(b"flooded".to_vec())
}

/// Writes an endless line.
pub fn flood_line(args: &[String]) -> Answer {
    let mut stdout = io::stdout();
    let block = [b'L'; 4096];
    let mut left = number(args)?;
    while left > 0 {
        let size = left.min(block.len() as u64);
        let _ = stdout.write_all(&block[..size as usize]);
        left -= size;
    }
    let _ = stdout.flush();
    Ok(b"flooded".to_vec())
}

/// Writes text that would fool a reader of the log if it were not escaped: terminal commands, line ends, an
/// entry in the log's own format, bytes that are not UTF-8.
pub fn forge_log(_: &[String]) -> Answer {
    let mut stdout = io::stdout();
    let lines: [&[u8]; 4] = [
        b"\x1b[2J\x1b[31mred\x1b[0m\x07bell\n",
        b"before\rafter\n",
        b"{\"level\":\"ERROR\",\"message\":\"forged\",\"client\":\"admin\"}\n",
        b"raw \xff\xfe bytes \xe2\x80\xae reversed\n",
    ];
    for line in lines {
        let _ = stdout.write_all(line);
    }
    let _ = stdout.flush();
    Ok(b"forged".to_vec())
}
