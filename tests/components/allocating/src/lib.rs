//! A plugin that allocates as told. Built for wasm32-unknown-unknown, which has the SDK's allocator.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::arch::wasm32::memory_size;

use lictor_plugin::prelude::*;

#[plugin]
mod commands {
    /// allocates so many bytes, and as many as follow, one after the other in the place of the one before;
    /// tells the pages by which each made the memory grow
    #[command]
    fn allocate(align: usize, bytes: Vec<usize>) -> Result<String, Failure> {
        let [first, others @ ..] = &*bytes else { return Err(Failure::bad_arguments("no bytes")) };
        let layout = |bytes| Layout::from_size_align(bytes, align).map_err(Failure::because);
        let mut grown = Vec::new();
        let mut before = memory_size::<0>();
        let mut tell = || {
            let now = memory_size::<0>();
            grown.push((now - before).to_string());
            before = now;
        };
        let mut current = layout(*first)?;
        // SAFETY: no layout is empty, each is the allocation's own, and only bytes inside are used.
        unsafe {
            let mut at = written(alloc(current), current)?;
            tell();
            for bytes in others {
                let next = layout(*bytes)?;
                let moved = realloc(at, current, next.size());
                if !moved.is_null()
                    && (*moved != 1 || (next.size() > current.size() && *moved.add(current.size() - 1) != 2))
                {
                    return Err(Failure::failed("the bytes are lost"));
                }
                at = written(moved, next)?;
                current = next;
                tell();
            }
            dealloc(at, current);
        }
        Ok(grown.join(" "))
    }
}

/// Writes the first byte and the last.
unsafe fn written(at: *mut u8, layout: Layout) -> Result<*mut u8, Failure> {
    if at.is_null() {
        return Err(Failure::unavailable("there is no memory"));
    }
    if !at.addr().is_multiple_of(layout.align()) {
        return Err(Failure::failed("it is not aligned"));
    }
    // SAFETY: the caller's allocation has this layout, which is not empty.
    unsafe {
        at.write(1);
        at.add(layout.size() - 1).write(2);
    }
    Ok(at)
}
