//! The machine: its processor cores, and moving this program to one of them.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Environment variable of the program once it runs on its core: the cores as `SERVER,LOAD`.
const CORES: &str = "LICTOR_VERSUS_CORES";

/// Core of the servers, and core of the load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// Returns the cores of this run; this program is on the second of them, with its temporary files beside
    /// it.
    ///
    /// Call this first: a program on any core replaces itself by itself on the right one. Temporary files are
    /// on a disk, unlike in some machines' usual folder for them, because durable writes are measured.
    pub fn take() -> Result<Self, String> {
        if let Ok(cores) = env::var(CORES) {
            let (server, load) = cores.split_once(',').ok_or("no cores are named")?;
            let number = |core: &str| core.parse().map_err(|_| format!("{core} is no core"));
            return Ok(Self { server: number(server)?, load: number(load)? });
        }
        let allowed = allowed();
        let &[server, load, ..] = &allowed[..] else {
            return Err(
                "there is one processor core, and it takes two: one for the server, one for the load".into(),
            );
        };
        let program = env::current_exe().map_err(|error| format!("which program is this? {error}"))?;
        let folder = program.with_file_name("tmp");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut again = Command::new("taskset");
        again.args(["--cpu-list", &load.to_string()]).arg(program).args(env::args_os().skip(1));
        again.env(CORES, format!("{server},{load}")).env("TMPDIR", folder);
        Err(format!("taskset cannot be run (Debian: util-linux): {}", again.exec()))
    }
}

/// Moves this thread, and all threads that it starts later, to these cores.
pub fn move_to(cores: &[usize]) -> Result<(), String> {
    let cores = list_of(cores);
    let this = std::process::id().to_string();
    let moved = Command::new("taskset").args(["--cpu-list", "--pid", &cores, &this]).output();
    let moved = moved.map_err(|error| format!("taskset cannot be run (Debian: util-linux): {error}"))?;
    let told = || format!("taskset: {}", String::from_utf8_lossy(&moved.stderr));
    moved.status.success().then_some(()).ok_or_else(told)
}

/// Formats cores as Linux reads them: `0,1`.
pub fn list_of(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Returns the cores that this process may run on.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    cores_of(list.trim())
}

/// Parses a list of cores as Linux writes it: `0-2,4`.
pub fn cores_of(list: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse()) {
            cores.extend(first..=last);
        }
    }
    cores
}

/// Describes the machine in a few words.
pub fn described() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model.trim()).to_owned();
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    format!("{count} cores of {model}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

#[cfg(test)]
mod tests {
    use super::cores_of;

    #[test]
    fn a_list_of_cores_is_read() {
        assert_eq!(cores_of("0-1"), [0, 1]);
        assert_eq!(cores_of("0,2-4,7"), [0, 2, 3, 4, 7]);
        assert_eq!(cores_of("3"), [3]);
        assert!(cores_of("").is_empty());
    }
}
