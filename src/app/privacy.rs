//! Hides the server's memory, which holds the server's key, from other processes of its user.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Makes the process undumpable: no process without `CAP_SYS_PTRACE` attaches to it or reads its memory, and
/// a crash leaves no core dump, whatever the limit was. A refusal by the kernel is logged; a service unit can
/// do the same.
pub(super) fn close_to_others() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(target: "lictor::app", %error, "other processes of this user can read the server's memory");
    }
    if let Err(error) = rlimit::setrlimit(rlimit::Resource::CORE, 0, 0) {
        tracing::warn!(target: "lictor::app", %error, "a crash of the server may leave a core dump");
    }
}
