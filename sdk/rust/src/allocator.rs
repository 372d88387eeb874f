//! The global allocator on wasm32-unknown-unknown: it starts in the memory that the linker left free.
//!
//! The target's own allocator grows the memory at its first allocation, which is a system call, and a fresh page to
//! fault in, for each fresh instance; most instances live for one short request. On wasm32-wasip2 the C library owns
//! the heap and begins in the same place, so there is nothing to gain there, and two allocators must not share it.

use std::alloc::Layout;
use std::arch::wasm32;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

const PAGE: usize = 64 * 1024;

#[global_allocator]
static ALLOCATOR: TalcSyncCell<Heap, WasmBinning> = TalcSyncCell::new_wasm(Heap { started: false });

/// Hands out what the linker left free of the initial memory, and grows the memory only when that is used up.
#[derive(Debug)]
struct Heap {
    started: bool,
}

unsafe extern "C" {
    // Set by the linker: the first byte after stack and data, and the end of the initial memory.
    static __heap_base: u8;
    static __heap_end: u8;
}

// SAFETY: `acquire` allocates nothing, and claims each piece of memory once: the linker's spare room the first time,
// and after that pages that have just been added.
unsafe impl Source for Heap {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !talc.source.started {
            talc.source.started = true;
            let start = &raw const __heap_base;
            let size = (&raw const __heap_end).addr() - start.addr();
            // SAFETY: nothing else uses the memory between these two marks; see above.
            if unsafe { talc.claim(start.cast_mut(), size) }.is_some() {
                return Ok(());
            }
        }
        // The allocator's own marks and the alignment have to fit in beside the allocation.
        let wanted = layout.size().checked_add(layout.align()).and_then(|n| n.checked_add(PAGE)).ok_or(())?;
        let pages = wanted / PAGE;
        let before = wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return Err(());
        }
        let added = (before * PAGE) as *mut u8;
        // SAFETY: these pages have just been added, and nobody else knows of them.
        unsafe { talc.claim(added, pages * PAGE) }.map(|_| ()).ok_or(())
    }
}
