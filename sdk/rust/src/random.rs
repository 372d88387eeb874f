//! Random numbers from the server's generator, good enough for keys and tokens. No grant is needed.
//!
//! With the feature `getrandom`, crates that draw random numbers by the crate `getrandom` (0.3 and later) have them from
//! here: `rand`, `uuid` and their like.

use crate::host::random;

/// Fills `bytes` with random ones.
pub fn fill(bytes: &mut [u8]) {
    bytes.copy_from_slice(&random::get_random_bytes(bytes.len() as u64));
}

/// An array of random bytes: `let token: [u8; 16] = random::bytes();`.
pub fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    fill(&mut bytes);
    bytes
}

/// A random number of 64 bits.
pub fn number() -> u64 {
    random::get_random_u64()
}

/// What the crate `getrandom`, from 0.3 on, calls where it is told `getrandom_backend="custom"`.
///
/// # Safety
///
/// `dest` is good for writing `len` bytes.
#[cfg(all(feature = "getrandom", target_family = "wasm"))]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    // SAFETY: the crate `getrandom` promises what is asked above; what is behind `dest` need not be initialized, as it is only
    // written.
    unsafe { dest.copy_from_nonoverlapping(random::get_random_bytes(len as u64).as_ptr(), len) };
    Ok(())
}
