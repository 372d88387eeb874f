//! Rights that the compiler's process gives up before it reads a component: the component's author may have
//! written it against the compiler.
//!
//! Knows nothing of components. Bounds on memory and time are mandatory; some kernels and service units
//! refuse the rest, and the bounds still hold without it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nix::libc;
use nix::sys::prctl;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getpid, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// The process's descriptors: its input, its output, and its error stream.
const DESCRIPTORS: u64 = 3;

/// Bounds this process and drops its rights, for good. Returns the restrictions that the kernel or the
/// service unit refused, for the log.
///
/// The output may have as many bytes as the memory: it was in there.
///
/// # Errors
///
/// If the process can't bound its memory and its time.
pub(super) fn confine(memory_bytes: u64, time: Duration) -> io::Result<Vec<String>> {
    let mut refused = Vec::new();
    let mut note = |what: &str, done: io::Result<()>| {
        if let Err(error) = done {
            refused.push(format!("{what}: {error}"));
        }
    };
    // Before the process becomes undumpable, since its `/proc` files then belong to root.
    note("first to be killed", std::fs::write("/proc/self/oom_score_adj", "1000"));
    note("no_new_privs", prctl::set_no_new_privs().map_err(io::Error::from));
    note("parent death signal", set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into));
    note("not dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Into::into));
    note("no other descriptors", close_others());
    note("no core dump", limit(Resource::Core, 0));
    note("no further descriptors", limit(Resource::Nofile, DESCRIPTORS));
    limit(Resource::Fsize, memory_bytes)?;
    limit(Resource::As, memory_bytes)?;
    // Whole seconds: a fraction is rounded up, and the parent's clock stops the process sooner. The hard
    // limit is a second later, since there the kernel kills without saying why.
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    limit(Resource::Cpu, seconds + 1)?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), ..getrlimit(Resource::Cpu) })?;
    note("system calls", filter_system_calls());
    Ok(refused)
}

/// Closes descriptors inherited by mistake. They come from whoever started the server: the server's own are
/// closed when a program starts.
fn close_others() -> io::Result<()> {
    let open =
        std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let others: Vec<i32> = open.filter_map(|name| name.parse().ok()).filter(|other| *other > 2).collect();
    for other in others {
        // Among them is the descriptor used for the listing, which is closed already.
        let _ = nix::unistd::close(other);
    }
    Ok(())
}

/// Lowers the bound of `resource` to `most`, for good; a lower one stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// System calls that the compiler needs, beside those in [`rules`] whose arguments count: memory, threads,
/// the clock.
const NEEDED: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// Refuses all other system calls, with an error instead of a signal, since the C library and the allocator
/// ask for things that they can do without.
fn filter_system_calls() -> io::Result<()> {
    let refuse = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    // The flags of `clone3` are in memory, where a filter can't look. A C library that hears that the kernel
    // lacks it uses `clone` instead. The later filter allows it: of two that refuse, the later one's error
    // counts.
    install(BTreeMap::from([(libc::SYS_clone3, vec![])]), SeccompAction::Allow, refuse(libc::ENOSYS))?;
    install(rules()?, refuse(libc::EPERM), SeccompAction::Allow)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules() -> io::Result<Rules> {
    use SeccompCmpOp::{Eq, Le, MaskedEq};
    let last_descriptor = DESCRIPTORS - 1;
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let own = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
    let no_descriptor = u64::from(u32::MAX);
    let mut rules: Rules = NEEDED.iter().map(|call| (*call, vec![])).collect();
    for call in [libc::SYS_read, libc::SYS_write, libc::SYS_writev] {
        rules.insert(call, vec![rule(0, Le, last_descriptor)?]);
    }
    rules.insert(libc::SYS_mmap, vec![rule(4, Eq, no_descriptor)?]);
    // A process would get processor time of its own.
    rules.insert(libc::SYS_clone, vec![rule(0, MaskedEq(thread), thread)?]);
    // To abort.
    rules.insert(libc::SYS_tgkill, vec![rule(0, Eq, own)?]);
    Ok(rules)
}

/// Matches if 32 bits of the argument with this number compare so.
fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(io::Error::other)
}

fn install(rules: Rules, others: SeccompAction, these: SeccompAction) -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, others, these, architecture).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::thread;

    use super::*;

    const CONFINED: &str = "LICTOR_TEST_CONFINED";

    #[test]
    fn a_confined_process_computes_and_does_nothing_else() {
        alone("a_confined_process_computes_and_does_nothing_else", be_confined);
    }

    #[test]
    fn where_filters_are_refused_the_bounds_hold_alone() {
        alone("where_filters_are_refused_the_bounds_hold_alone", be_bounded);
    }

    /// Runs this test again in a separate process, where it does `what`: a process can't get its rights back.
    fn alone(test: &str, what: fn()) {
        if std::env::var_os(CONFINED).is_some() {
            return what();
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        let module = module_path!().split_once("::").map_or("", |(_, module)| module);
        again.args(["--exact", "--nocapture", &format!("{module}::{test}")]);
        let ended = again.env(CONFINED, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }

    fn be_bounded() {
        let bounded = thread::spawn(|| {
            let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
            install(BTreeMap::from([(libc::SYS_seccomp, vec![])]), SeccompAction::Allow, refuse).unwrap();
            let refused = confine(4 << 30, Duration::from_secs(10)).unwrap();
            let most = [Resource::As, Resource::Fsize, Resource::Cpu, Resource::Nofile, Resource::Core]
                .map(|resource| getrlimit(resource).current.unwrap());
            assert_eq!(most, [4 << 30, 4 << 30, 10, DESCRIPTORS, 0]);
            refused
        });
        let refused = bounded.join().unwrap();
        assert!(refused.len() == 1 && refused[0].starts_with("system calls: "), "{refused:?}");
    }

    fn be_confined() {
        // In a thread, since the test's own thread has to report the result.
        let refused = thread::spawn(|| {
            let parent = rustix::process::getppid().unwrap();
            let refused = confine(4 << 30, Duration::from_secs(10)).unwrap();
            assert_eq!(vec![1_u8; 1 << 20].iter().map(|byte| usize::from(*byte)).sum::<usize>(), 1 << 20);
            assert_eq!(thread::spawn(|| 1 + 1).join().unwrap(), 2);
            let tried = [
                ("a file", File::open("/etc/hostname").map(drop)),
                ("a new file", File::create("/tmp/lictor-confined").map(drop)),
                ("a folder", std::fs::read_dir("/").map(drop)),
                ("a connection", UnixStream::connect("/run/lictor-confined").map(drop)),
                ("a listener", TcpListener::bind("127.0.0.1:0").map(drop)),
                ("a datagram", UdpSocket::bind("127.0.0.1:0").map(drop)),
                ("a program", Command::new("/bin/true").status().map(drop)),
                ("a signal", rustix::process::kill_process(parent, Signal::CONT).map_err(io::Error::from)),
            ];
            // Without the filter, the bound on descriptors refuses most of them.
            let is_filtered = !refused.iter().any(|what| what.starts_with("system calls"));
            for (what, tried) in tried {
                let kind = tried.map_err(|error| error.kind());
                assert!(kind == Err(ErrorKind::PermissionDenied) || !is_filtered, "{what}: {kind:?}");
            }
            refused
        });
        let refused = refused.join().unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    }
}
