//! What `std` would bring along: an allocator and a panic handler.
//!
//! A plugin built on `std` works as well, but it imports a dozen WASI interfaces that it never calls, and the server
//! has to set them up for every fresh instance. A plugin that imports nothing but `lictor:plugin` starts several
//! times as fast. Copy this file and the `bare` lines of `lib.rs` into a plugin for which that matters.

use alloc::alloc::{alloc, realloc};
use core::alloc::Layout;
use core::arch::wasm32;
use core::panic::PanicInfo;
use core::ptr;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

const PAGE: usize = 64 * 1024;

#[global_allocator]
static ALLOCATOR: TalcSyncCell<Heap, WasmBinning> = TalcSyncCell::new_wasm(Heap { started: false });

/// Hands out what the linker left free of the initial memory, and grows the memory only when that is used up:
/// growing costs a system call, and most instances live for one short request.
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
        unsafe { talc.claim(added, pages * PAGE) }.map(|_| ()).ok_or(())
    }
}

/// Through this the host puts arguments into the plugin's memory. With `std` it comes from the C library.
///
/// # Safety
/// As the component model's canonical ABI asks: `old` is null, or came from here with this length and alignment.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, new_len: usize) -> *mut u8 {
    if new_len == 0 {
        return ptr::without_provenance_mut(align);
    }
    let size = if old_len == 0 { new_len } else { old_len };
    let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
    let new = if old_len == 0 { unsafe { alloc(layout) } } else { unsafe { realloc(old, layout, new_len) } };
    if new.is_null() { wasm32::unreachable() } else { new }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    wasm32::unreachable()
}
