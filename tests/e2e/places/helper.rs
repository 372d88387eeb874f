//! Bodies of the commands that trap.

pub(crate) fn nth(list: &[u32], index: usize) -> u32 {
    list[index] // here: nth
}

pub(crate) fn over(count: u32) -> u32 {
    assert!(count < 100, "{count} are too many"); // here: over
    count
}

pub(crate) fn trap(address: usize) -> u32 {
    unsafe { (address as *const u32).read_volatile() } // here: trap
}

#[inline(never)]
pub(crate) fn deep(count: u32) -> u32 { // here: deep
    let mut held = [count; 64];
    if count > 0 {
        held[1] = deep(count - 1);
    }
    std::hint::black_box(&held).iter().fold(0, |sum, one| sum ^ one)
} // here: deep ends

#[inline(never)]
pub(crate) fn spin(from: u64) -> u64 { // here: spin
    let mut turns = from;
    while turns != 0 {
        turns = std::hint::black_box(turns.wrapping_mul(3) | 1);
    }
    turns
} // here: spin ends
