//! The SDK's allocator for Rust: allocations of any size succeed, and the memory grows only as needed.

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};

const PAGE: usize = 64 * 1024;

fn allocating(keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    (setup.plugin("allocating", components::allocating(), &["allocate"], keys).start(), tester)
}

/// Returns the pages that hold an allocation and the allocator's data beside it.
fn pages_for(bytes: usize, align: usize) -> usize {
    let align = if align > 16 { align } else { 0 };
    (16 + (bytes + 4).next_multiple_of(16) + align).div_ceil(PAGE)
}

#[test]
fn allocations_of_all_sizes_about_whole_pages_fit_and_grow_the_memory_by_no_more() {
    let (server, tester) = allocating("memory = \"64MiB\"");
    let mut connection = server.connect(&tester);
    let mut asked: Vec<(usize, Vec<usize>)> = Vec::new();
    for pages in [1, 2, 10, 16] {
        for bytes in pages * PAGE - 60..pages * PAGE + 20 {
            asked.push((1, vec![bytes]));
            // In place of a shorter one, and of one that the small-block lists serve.
            asked.push((8, vec![bytes / 2, bytes, bytes + PAGE]));
            asked.push((1, vec![5, bytes, 7, bytes]));
        }
    }
    for align in [16, 32, 4096, PAGE, 16 * PAGE] {
        for bytes in [2, 100, 3 * PAGE - 33, 3 * PAGE - 20, 3 * PAGE - 1, 3 * PAGE] {
            asked.push((align, vec![bytes]));
            asked.push((align, vec![bytes, bytes + PAGE]));
        }
    }
    let lines: Vec<String> = asked
        .iter()
        .map(|(align, sizes)| {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            format!("allocate {align} {}", sizes.join(" "))
        })
        .collect();
    let mut grew = false;
    for ((align, sizes), line) in asked.iter().zip(&lines) {
        let reply = connection.ask(line);
        let grown: Option<Vec<usize>> = reply.split(' ').map(|pages| pages.parse().ok()).collect();
        let grown = grown.unwrap_or_else(|| panic!("{line}: {reply}"));
        assert_eq!(grown.len(), sizes.len(), "{line}: {reply}");
        for (pages, bytes) in grown.iter().zip(sizes) {
            assert!(*pages <= pages_for(*bytes, *align), "{line}: the memory grew by {reply} pages");
            grew |= *pages > 0;
        }
    }
    assert!(grew, "nothing had the memory grow");
}

#[test]
fn an_allocation_for_which_there_is_no_memory_fails_and_one_that_just_fits_does_not() {
    let (server, tester) = allocating("memory = \"8MiB\"");
    let mut connection = server.connect(&tester);
    // A fresh instance already has less than 2 MiB.
    assert_eq!(connection.ask(&format!("allocate 1 {}", 96 * PAGE - 20)), "96");
    let refused = connection.ask_framed(&format!("allocate 1 {}", 128 * PAGE));
    assert_eq!(refused.status, "ERR");
    assert!(refused.message.contains("memory"), "{}", refused.message);
}
