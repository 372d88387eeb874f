//! Memory available to the process: of the machine, and of its control groups.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Mount points of control groups of version 2: alone, or beside those of version 1.
const GROUPS: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];

/// Mount point of the memory groups of version 1.
const MEMORY_GROUPS: &str = "sys/fs/cgroup/memory";

/// Maximum memory of this process, in bytes: the least of the machine's and the limits of its control groups
/// and their parents. `root` is the folder with `proc` and `sys`. `None` if none of these can be read.
#[must_use]
pub fn available(root: &Path) -> Option<u64> {
    machine(root).into_iter().chain(limits(root)).min()
}

fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// Each limit that is set, from the process's own groups up to the topmost visible one.
fn limits(root: &Path) -> Vec<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    // `NUMBER:CONTROLLERS:PATH`; version 2 has no controllers.
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mounts, files): (&[&str], &[&str]) = match controllers {
            "" => (&GROUPS, &["memory.max", "memory.high"]),
            all if all.split(',').any(|one| one == "memory") => {
                (&[MEMORY_GROUPS], &["memory.limit_in_bytes"])
            }
            _ => continue,
        };
        let path = below_mount(path);
        for group in
            mounts.iter().flat_map(|mount| path.ancestors().map(move |path| root.join(mount).join(path)))
        {
            limits.extend(files.iter().filter_map(|file| limit(&group.join(file))));
        }
    }
    limits
}

/// The path of a group below the mount. In a container it may be the host's path, which does not exist there;
/// then the mount itself is the container's group.
fn below_mount(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts.filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// `max` means no limit; version 1 writes a number larger than any machine's memory.
fn limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        1000 kB\nMemFree:          10 kB\n");
    const MACHINE: Option<u64> = Some(1_000 << 10);

    /// Files with their contents.
    type Files = &'static [(&'static str, &'static str)];

    /// Description, files, and the available memory.
    const CASES: [(&str, Files, Option<u64>); 14] = [
        ("nothing can be read", &[], None),
        ("no groups", &[MEMINFO], MACHINE),
        ("broken files", &[("proc/meminfo", "MemTotal: x"), ("proc/self/cgroup", "0\n::\nx")], None),
        (
            "its own group",
            &[MEMINFO, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "5000\n")],
            Some(5_000),
        ),
        (
            "a group without a limit",
            &[MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")],
            MACHINE,
        ),
        (
            "a parent",
            &[
                MEMINFO,
                ("proc/self/cgroup", "0::/a/b/c\n"),
                ("sys/fs/cgroup/a/b/c/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/memory.max", "7000\n"),
                ("sys/fs/cgroup/a/memory.max", "6000\n"),
            ],
            Some(6_000),
        ),
        (
            "where it is slowed down",
            &[
                ("proc/self/cgroup", "0::/a\n"),
                ("sys/fs/cgroup/a/memory.max", "7000\n"),
                ("sys/fs/cgroup/a/memory.high", "6500\n"),
            ],
            Some(6_500),
        ),
        (
            "a container's own root",
            &[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "4000\n")],
            Some(4_000),
        ),
        (
            "a path of outside the container",
            &[("proc/self/cgroup", "0::/../../x\n"), ("sys/fs/cgroup/memory.max", "4000\n")],
            Some(4_000),
        ),
        (
            "version 1",
            &[
                MEMINFO,
                ("proc/self/cgroup", "12:cpu,cpuacct:/z\n5:memory:/docker/1\n"),
                ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "3000\n"),
                ("sys/fs/cgroup/memory/z/memory.limit_in_bytes", "1\n"),
            ],
            Some(3_000),
        ),
        (
            "version 1, seen from within the container",
            &[
                ("proc/self/cgroup", "5:memory:/docker/1\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ],
            Some(2_000),
        ),
        (
            "version 1 without a limit",
            &[
                MEMINFO,
                ("proc/self/cgroup", "5:memory:/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
            MACHINE,
        ),
        (
            "both versions",
            &[
                ("proc/self/cgroup", "5:cpu,memory:/a\n0::/b\n"),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9000\n"),
                ("sys/fs/cgroup/unified/b/memory.max", "8000\n"),
            ],
            Some(8_000),
        ),
        (
            "more than the machine has",
            &[MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "1099511627776\n")],
            MACHINE,
        ),
    ];

    #[test]
    fn the_least_limit_holds_wherever_it_is_set() {
        for (what, files, expected) in CASES {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(available(root.path()), expected, "{what}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available(Path::new("/")).is_some_and(|bytes| bytes > 64 << 20));
    }
}
