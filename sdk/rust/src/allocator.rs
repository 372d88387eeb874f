//! The global allocator on wasm32-unknown-unknown. Its first memory is the part that the linker left free.
//!
//! The target's own allocator grows the memory at its first allocation. That costs each fresh instance a
//! system call and a page fault, and most instances live for one short request. On wasm32-wasip2 the C
//! library owns the heap and begins in the same place: nothing is gained there, and two allocators must not
//! share it.
//!
//! Arguments and replies are mostly short, and each costs an allocation. Short allocations therefore come
//! from lists of free blocks, one list for each size (segregated free lists: Wilson et al., "Dynamic Storage
//! Allocation: A Survey and Critical Review", 1995), which takes a dozen instructions where a general
//! allocator takes a hundred. Talc serves the long ones.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32;
use std::cell::UnsafeCell;
use std::mem::replace;
use std::ptr::null_mut;

use talc::base::{CHUNK_UNIT, Talc};
use talc::min_first_heap_size;
use talc::source::Manual;
use talc::wasm::WasmBinning;

const PAGE: usize = 64 * 1024;

/// Size of the mark that talc writes behind each allocation.
const MARK_BYTES: usize = size_of::<usize>();

/// Number of block sizes: 16 bytes, doubled each time.
const SIZES: usize = 6;
const SMALLEST_BYTES: usize = 16;
const LARGEST_BYTES: usize = SMALLEST_BYTES << (SIZES - 1);

/// Size of a chunk, from which blocks are cut. The first chunk is part of the initial memory, if it fits.
const CHUNK_BYTES: usize = 4096;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator {
    small: UnsafeCell::new(Small {
        free: [null_mut(); SIZES],
        next: null_mut(),
        end: null_mut(),
        started: false,
    }),
    large: UnsafeCell::new(Large { talc: Talc::new(Manual), started: false }),
};

/// Short allocations from lists, long ones from talc.
struct Allocator {
    small: UnsafeCell<Small>,
    large: UnsafeCell<Large>,
}

/// Free blocks by their size, and the rest of the chunk that blocks are cut from.
struct Small {
    free: [*mut Block; SIZES],
    next: *mut u8,
    end: *mut u8,
    started: bool,
}

/// A free block, which points to the next one of its size.
struct Block {
    next: *mut Block,
}

// SAFETY: this target has one thread.
unsafe impl Sync for Allocator {}

/// List that serves `layout`; none if talc does.
fn list_of(layout: Layout) -> Option<usize> {
    let is_short = layout.size() <= LARGEST_BYTES && layout.align() <= SMALLEST_BYTES;
    is_short
        .then(|| (usize::BITS - (layout.size().saturating_sub(1) / SMALLEST_BYTES).leading_zeros()) as usize)
}

// SAFETY: a block is either in one list or handed out: `alloc` takes it off its list, and only `dealloc`,
// which its owner calls once, puts it back. Its size follows from the layout alone, which is the same in
// both. Blocks begin at multiples of 16 bytes, because chunks do and block sizes are such multiples.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = list_of(layout) else {
            // SAFETY: one thread, nothing in there calls back, and the caller vouches for the layout.
            return unsafe { (*self.large.get()).alloc(layout) };
        };
        // SAFETY: one thread, and nothing below calls back into this function while the reference is used.
        let small = unsafe { &mut *self.small.get() };
        let block = small.free[size];
        if block.is_null() {
            return small.cut(SMALLEST_BYTES << size, self.large.get());
        }
        // SAFETY: blocks in the list are free and point to the next one.
        small.free[size] = unsafe { (*block).next };
        block.cast()
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(size) = list_of(layout) else {
            // SAFETY: `large` allocated it, since the layout is the same.
            return unsafe { (*self.large.get()).talc.deallocate(at, layout) };
        };
        // SAFETY: as in `alloc`.
        let small = unsafe { &mut *self.small.get() };
        let block: *mut Block = at.cast();
        // SAFETY: the caller gives the block back, and it is large and aligned enough.
        unsafe { block.write(Block { next: small.free[size] }) };
        small.free[size] = block;
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises a valid layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        match (list_of(layout), list_of(wanted)) {
            (Some(old), Some(new)) if old == new => at,
            // SAFETY: `large` allocated it.
            (None, None) => unsafe { (*self.large.get()).realloc(at, layout, wanted) },
            // SAFETY: as for `alloc` and `dealloc`; the copied bytes lie within both allocations.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(at, layout.size().min(bytes));
                    self.dealloc(at, layout);
                }
                moved
            },
        }
    }
}

impl Small {
    /// Cuts a never used block of this many bytes from the chunk.
    fn cut(&mut self, bytes: usize, large: *mut Large) -> *mut u8 {
        if self.end.addr() - self.next.addr() < bytes {
            let first = if self.started { null_mut() } else { first_chunk() };
            self.started = true;
            // SAFETY: the allocator owns it and nobody else is using it; a chunk is not an empty layout.
            self.next =
                if first.is_null() { unsafe { (*large).alloc(Layout::new::<Chunk>()) } } else { first };
            if self.next.is_null() {
                self.end = null_mut();
                return null_mut();
            }
            // Within the chunk just taken.
            self.end = self.next.wrapping_add(CHUNK_BYTES);
        }
        let block = self.next;
        self.next = block.wrapping_add(bytes);
        block
    }
}

/// Memory from which blocks are cut.
#[repr(C, align(16))]
struct Chunk([u8; CHUNK_BYTES]);

/// Returns the first free bytes of the initial memory, so that a small instance never has to set up talc.
/// Null if too few bytes are free.
fn first_chunk() -> *mut u8 {
    let start = first_free();
    if initial_end().saturating_sub(start.addr()) < CHUNK_BYTES { null_mut() } else { start }
}

fn first_free() -> *mut u8 {
    let start = (&raw const __heap_base).cast_mut();
    start.wrapping_add(start.align_offset(SMALLEST_BYTES))
}

fn initial_end() -> usize {
    (&raw const __heap_end).addr()
}

unsafe extern "C" {
    // Set by the linker: the first byte after stack and data, and the end of the initial memory.
    static __heap_base: u8;
    static __heap_end: u8;
}

/// Talc, over the initial memory that the linker left free, and over pages added once that is used up.
struct Large {
    talc: Talc<Manual, WasmBinning>,
    started: bool,
}

impl Large {
    /// Allocates `layout`, whose size is not 0. Null on failure: the memory grows at most once for each
    /// allocation, and one that still does not fit fails.
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        let mut may_grow = true;
        loop {
            // SAFETY: the caller vouches for the layout.
            if let Some(found) = unsafe { self.talc.try_allocate(layout) } {
                return found.as_ptr();
            }
            if !self.started {
                self.start();
            } else if !replace(&mut may_grow, false) || !self.grow(layout) {
                return null_mut();
            }
        }
    }

    unsafe fn realloc(&mut self, at: *mut u8, layout: Layout, wanted: Layout) -> *mut u8 {
        // SAFETY: the caller promises that `at` came from here with `layout`, and that neither size is 0. The
        // copied bytes lie within both, since an allocation that shrinks stays in place.
        unsafe {
            if self.talc.try_realloc_in_place(at, layout, wanted.size()) {
                return at;
            }
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(at, layout.size());
                self.talc.deallocate(at, layout);
            }
            moved
        }
    }

    /// Claims the rest of the initial memory behind the first chunk of blocks, if that is enough for talc.
    fn start(&mut self) {
        self.started = true;
        let chunk = first_chunk();
        let start = if chunk.is_null() { first_free() } else { chunk.wrapping_add(CHUNK_BYTES) };
        let size = initial_end().saturating_sub(start.addr());
        // SAFETY: nothing else uses the memory between these two marks, which are claimed once.
        unsafe { self.talc.claim(start, size) };
    }

    /// Adds enough pages for an allocation of `layout` at any alignment; false if there are none.
    fn grow(&mut self, layout: Layout) -> bool {
        // A piece of memory begins with talc's table if it is the first, and with a mark if not.
        let head = if self.talc.is_metadata_established() {
            CHUNK_UNIT
        } else {
            min_first_heap_size::<WasmBinning>()
        };
        // The allocation and the mark behind it, as talc rounds them.
        let body = (layout.size() + MARK_BYTES).next_multiple_of(CHUNK_UNIT);
        let align = if layout.align() > CHUNK_UNIT { layout.align() } else { 0 };
        // No sum overflows: a layout's size and alignment together are at most 2 GiB.
        let pages = (head + body + align).div_ceil(PAGE);
        let before = wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return false;
        }
        // SAFETY: these pages have just been added, and nobody else uses them.
        unsafe { self.talc.claim((before * PAGE) as *mut u8, pages * PAGE) }.is_some()
    }
}
