//! Random numbers from the server's generator, suitable for keys and tokens. No grant is needed.
//!
//! With the feature `getrandom`, this is also the source of crates that use the crate `getrandom` (0.3 and
//! later), such as `rand` and `uuid`.

use crate::host::random;

/// Fills `bytes` with random bytes.
pub fn fill(bytes: &mut [u8]) {
    bytes.copy_from_slice(&random::get_random_bytes(bytes.len() as u64));
}

/// Returns an array of random bytes: `let token: [u8; 16] = random::bytes();`.
pub fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    fill(&mut bytes);
    bytes
}

/// Returns a random 64-bit number.
pub fn number() -> u64 {
    random::get_random_u64()
}

/// Source of randomness for the crate `getrandom`, from 0.3 on, under `getrandom_backend="custom"`.
///
/// # Safety
///
/// `dest` is valid for writes of `len` bytes.
#[cfg(all(feature = "getrandom", target_family = "wasm"))]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    // SAFETY: the crate `getrandom` keeps the contract above; the memory at `dest` is only written, so it
    // need not be initialized.
    unsafe { dest.copy_from_nonoverlapping(random::get_random_bytes(len as u64).as_ptr(), len) };
    Ok(())
}
