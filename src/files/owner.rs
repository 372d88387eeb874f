//! Users whose files this process trusts.

/// Returns true if the user is neither root nor the one that this process runs as.
pub(super) fn is_stranger(user: u32) -> bool {
    user != 0 && user != rustix::process::geteuid().as_raw()
}
