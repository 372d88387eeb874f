//! Memory held by the process.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

/// Buffer for the whole text, which has some 1.5 KB.
const TEXT_BYTES: usize = 8 << 10;

/// The kernel's figures for this process.
///
/// Of the resident memory, anonymous and shared memory count: the kernel can reclaim file pages, such as the
/// program's and compiled plugins'. `status` has both figures for the cost of a few sums; `smaps_rollup` is
/// exact, but walks all page tables; `statm` does not distinguish shared memory from files. The file is held
/// open, so that a process without a free descriptor can still read it.
pub(super) struct Usage {
    status: File,
    text: Vec<u8>,
}

impl Usage {
    /// # Errors
    ///
    /// The system does not provide the figures.
    pub(super) fn open() -> io::Result<Self> {
        let mut usage = Self { status: File::open("/proc/self/status")?, text: vec![0; TEXT_BYTES] };
        usage.read().ok_or_else(|| io::Error::other("/proc/self/status has no RssAnon"))?;
        Ok(usage)
    }

    /// Memory held, in bytes. No failure is known here that would not already have occurred on opening; one
    /// counts as zero.
    pub(super) fn bytes(&mut self) -> u64 {
        self.read().unwrap_or(0)
    }

    fn read(&mut self) -> Option<u64> {
        let length = self.status.read_at(&mut self.text, 0).ok()?;
        bytes_of(std::str::from_utf8(self.text.get(..length)?).ok()?)
    }
}

/// Anonymous plus shared memory in a text of `/proc/PID/status`.
fn bytes_of(status: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    kib("RssAnon:")?.checked_add(kib("RssShmem:")?)?.checked_mul(1 << 10)
}

/// Returns freed memory to the system.
///
/// The allocator does so a second after memory was freed, but only when a thread next frees a page; after a
/// burst none does, and hundreds of megabytes stay. The end of a thread that allocated something makes the
/// allocator scan all its arenas.
pub(super) fn purge() {
    let purge = thread::Builder::new().name("memory-purge".into());
    // If no thread can be started, the next look tries again.
    if let Ok(thread) = purge.spawn(|| drop(black_box(Box::new(0_u64)))) {
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_and_shared_memory_are_counted_and_files_are_not() {
        let status = "Name:\tlictor\nVmRSS:\t   70000 kB\nRssAnon:\t   50000 kB\nRssFile:\t   19000 kB\nRssShmem:\t    1000 kB\n";
        assert_eq!(bytes_of(status), Some(51_000 << 10));
        for broken in
            ["", "RssAnon:\t1 kB\n", "RssAnon:\tmuch kB\nRssShmem:\t0 kB\n", "RssAnon:\nRssShmem:\n"]
        {
            assert_eq!(bytes_of(broken), None, "{broken}");
        }
    }

    #[test]
    fn memory_that_is_touched_is_seen() {
        let mut usage = Usage::open().unwrap();
        let before = usage.bytes();
        let touched = black_box(vec![1_u8; 64 << 20]);
        assert!(usage.bytes() >= before + (32 << 20), "{before}, {}", usage.bytes());
        drop(touched);
    }
}
