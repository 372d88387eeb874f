//! Costs of a server before it does anything: memory of idle connections, and the time to start.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::lictor::loadgen::{self, Dialect};
use testkit::components;
use testkit::server::Setup;

use super::PAYLOAD;
use super::echoes::asking;
use crate::Bench;
use crate::document::Table;
use crate::figures::Unit;
use crate::outcome::Outcome;
use crate::peers::redis::Keeps;
use crate::peers::{Server, lictor, redis};
use crate::resp::Resp;
use crate::spread::Spread;

/// Number of connections held.
const IDLE: usize = 10_000;

/// Files that this program needs besides its connections.
const OTHER_FILES: u64 = 256;

/// Time for buffers of handshakes to be freed.
const SETTLE: Duration = Duration::from_secs(1);

/// Number of plugins that a server starts with.
const PLUGINS: usize = 100;

/// Memory of connections that are admitted and idle. Each round starts new servers.
pub fn idle(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    let wanted = bench.options.many(IDLE, 100);
    let count = wanted.min(room);
    if count < wanted {
        outcome
            .notes
            .push(format!("This machine lets a process open {files} files, so there are fewer connections."));
    }
    let cores = &[bench.cores.server];
    let lictor = || lictor::start(lictor::echoing(&bench.client), cores, &bench.client);
    let redis = || redis::start(Keeps::Nothing, cores, &bench.client);
    let resp = || Arc::new(Resp::new(&["ECHO", PAYLOAD])) as Arc<dyn Dialect>;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.rounds() {
        let memory = redis().and_then(|server| held(bench, &server, &resp(), count));
        theirs.extend(outcome.had("Redis", memory));
        let memory = lictor().and_then(|server| held(bench, &server, &asking(&["echo", PAYLOAD]), count));
        ours.extend(outcome.had("Lictor", memory));
    }
    let mut table =
        Table::new(&["server", "connections", "memory before", "memory with them", "per connection"]);
    for (name, all) in [("Redis", &theirs), ("Lictor", &ours)] {
        let size = |figure: fn(&Memory) -> f64| Unit::Size.of_spread(Spread::of(all.iter().map(figure)));
        let each = Spread::of(all.iter().map(|memory| memory.each(count)));
        let each = Unit::Size.of_spread(each);
        table.row(&[name.into(), Unit::Count.of(count as f64), size(|m| m.before), size(|m| m.after), each]);
    }
    outcome.add(table.into_text());
    let each = |all: &[Memory]| all.iter().map(|memory| memory.each(count)).collect::<Vec<_>>();
    let ratio = Unit::Ratio.of_spread(Spread::of_ratios(each(&ours), each(&theirs)));
    outcome.add(format!("Lictor to Redis: {ratio}."));
    outcome
}

/// Bytes of a server's memory.
struct Memory {
    before: f64,
    after: f64,
}

impl Memory {
    fn each(&self, connections: usize) -> f64 {
        (self.after - self.before) / connections as f64
    }
}

fn held(bench: &Bench, server: &Server, dialect: &Arc<dyn Dialect>, count: usize) -> Result<Memory, String> {
    let before = server.process.memory();
    let held = bench.runtime.block_on(loadgen::hold(&server.peer(dialect), count));
    let mut held = held.map_err(|error| error.to_string())?;
    thread::sleep(SETTLE);
    let after = server.process.memory();
    let idle = bench.runtime.block_on(held.still_idle());
    if idle < count {
        return Err(format!("{} of {count} connections were not kept", count - idle));
    }
    bench.tell(&format!(
        "{} for each of {count} connections",
        Unit::Size.of(Memory { before, after }.each(count))
    ));
    Ok(Memory { before, after })
}

/// Time from the start of the process to the line that reports listening, with plugins already compiled.
pub fn start(bench: &Bench) -> Outcome {
    let mut outcome = Outcome::default();
    let count = bench.options.many(PLUGINS, 3);
    let setup = many_plugins(count, bench);
    let config = setup.write();
    let both = [bench.cores.server, bench.cores.load];
    let started = || {
        let begun = Instant::now();
        let (process, _) = lictor::start_with(setup.folder(), &config, &both)?;
        Ok((begun.elapsed().as_nanos() as f64, process.memory()))
    };
    let mut table = Table::new(&["start", "time until it listens", "memory then"]);
    let mut row = |name: &str, all: &[(f64, f64)]| {
        table.row(&[
            format!("{name}, {count} plugins"),
            Unit::Time.of_spread(Spread::of(all.iter().map(|(time, _)| *time))),
            Unit::Size.of_spread(Spread::of(all.iter().map(|(_, memory)| *memory))),
        ]);
    };
    // The first start compiles them.
    let cold: Vec<_> = outcome.had("Lictor", started()).into_iter().collect();
    row("nothing compiled", &cold);
    let rounds = 0..bench.options.rounds();
    let warm: Vec<_> = rounds.filter_map(|_| outcome.had("Lictor", started())).collect();
    row("all compiled before", &warm);
    outcome.add(table.into_text());
    outcome
}

/// Sets up this many plugins with different components: the same code, and a custom section that differs.
fn many_plugins(count: usize, bench: &Bench) -> Setup {
    let echo = std::fs::read(components::echo()).expect("the component is read");
    let mut setup = Setup::new().master("client", &bench.client);
    for number in 0..count {
        // A custom section is number 0, its length, and the length of its name.
        let name = format!("copy-{number:04}");
        let section = [&[0, name.len() as u8 + 1, name.len() as u8], name.as_bytes()].concat();
        let path = setup.folder().join(&name).with_extension("wasm");
        std::fs::write(&path, [&echo[..], &section].concat()).expect("the component is written");
        setup = setup.plugin(&name, &path, &[&name], "");
    }
    setup
}
