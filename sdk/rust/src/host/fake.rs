//! The host of a test: its contents, and the functions that a plugin imports, working on them.

mod bounds;
pub(crate) mod events;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod state;

pub(crate) use bounds::one_call;
#[cfg(feature = "streaming")]
pub(crate) use bounds::renew;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::mem::swap;
use std::rc::Rc;
use std::time::Duration;

use crate::Failure;
use crate::bindings::lictor::plugin::events::Event;
use crate::bindings::lictor::plugin::types;
use crate::bindings::lictor::plugin::types::Caller;

/// Test functions that answer HTTP requests, and commands that the plugin runs.
pub(crate) type Web = Rc<dyn Fn(&crate::http::Request) -> Result<crate::http::Response, crate::http::Error>>;
pub(crate) type Commands = Rc<dyn Fn(&[&str], &[u8]) -> Result<Vec<u8>, Failure>>;

/// Contents of a test's host.
pub(crate) struct World {
    pub(crate) caller: Caller,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) time_left: Duration,
    /// Remaining bounds of the current call.
    left: Option<bounds::Left>,
    /// Set while the test's own functions run, which may take as long as they like.
    is_answering: bool,
    pub(crate) config: BTreeMap<String, String>,
    /// Granted files; `None` for one that does not exist now.
    pub(crate) files: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) stores: state::Stores,
    /// The monotonic clock's reading, and the time of day when that was 0.
    pub(crate) elapsed: Duration,
    pub(crate) began_at: Duration,
    pub(crate) seed: u64,
    pub(crate) printed: Vec<String>,
    pub(crate) published: Vec<Event>,
    pub(crate) coming: VecDeque<Event>,
    pub(crate) subscribed: Vec<String>,
    pub(crate) web: Option<Web>,
    pub(crate) commands: Option<Commands>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            caller: Caller { name: "tester".into(), thumbprint: "0".repeat(64) },
            headers: Vec::new(),
            body: Vec::new(),
            time_left: Duration::from_secs(5),
            left: None,
            is_answering: false,
            config: BTreeMap::new(),
            files: BTreeMap::new(),
            stores: state::Stores::default(),
            elapsed: Duration::ZERO,
            // An arbitrary day: 2026-01-01.
            began_at: Duration::from_secs(1_767_225_600),
            seed: 0,
            printed: Vec::new(),
            published: Vec::new(),
            coming: VecDeque::new(),
            subscribed: Vec::new(),
            web: None,
            commands: None,
        }
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Does `work` while the functions of the host act on `world`.
pub(crate) fn within<T>(world: &RefCell<World>, work: impl FnOnce() -> T) -> T {
    /// Restores the previous world, even if `work` panics.
    struct Swapped<'a>(&'a RefCell<World>);

    impl<'a> Swapped<'a> {
        fn new(world: &'a RefCell<World>) -> Self {
            WORLD.with_borrow_mut(|current| swap(current, &mut world.borrow_mut()));
            Self(world)
        }
    }

    impl Drop for Swapped<'_> {
        fn drop(&mut self) {
            WORLD.with_borrow_mut(|current| swap(current, &mut self.0.borrow_mut()));
        }
    }

    let _swapped = Swapped::new(world);
    work()
}

fn world<T>(look: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(look)
}

fn failure(code: &str, message: &str) -> types::Failure {
    types::Failure { code: code.into(), message: message.into() }
}

pub(crate) mod request {
    use super::{Caller, world};

    pub(crate) fn caller() -> Caller {
        world(|world| world.caller.clone())
    }

    pub(crate) fn id() -> String {
        "c0-1".into()
    }

    pub(crate) fn header(name: &str) -> Option<String> {
        headers().into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn headers() -> Vec<(String, String)> {
        world(|world| world.headers.clone())
    }

    pub(crate) fn body() -> Vec<u8> {
        world(|world| world.body.clone())
    }

    pub(crate) fn time_left_ms() -> u64 {
        u64::try_from(super::bounds::time_left().as_millis()).unwrap_or(u64::MAX)
    }
}

pub(crate) mod config {
    use super::world;
    pub(crate) use crate::bindings::wasi::config::store::Error;

    pub(crate) fn get(key: &str) -> Result<Option<String>, Error> {
        Ok(world(|world| world.config.get(key).cloned()))
    }
}

pub(crate) mod output {
    use super::world;

    pub(crate) fn print(text: &str) {
        world(|world| world.printed.extend(text.lines().map(String::from)));
    }

    pub(crate) fn write(bytes: &[u8]) {
        print(&String::from_utf8_lossy(bytes));
    }
}

pub(crate) mod logging {
    use super::world;
    pub(crate) use crate::bindings::wasi::logging::logging::Level;

    pub(crate) fn log(level: Level, _context: &str, message: &str) {
        let level = format!("{level:?}").to_lowercase();
        let level = level.rsplit("::").next().unwrap_or_default().to_owned();
        world(|world| world.printed.push(format!("{level}: {message}")));
    }
}

pub(crate) mod files {
    use super::bounds::{carry, operation};
    use super::{failure, types, world};

    const MAX_BYTES: usize = 1 << 20;

    pub(crate) fn read(path: &str) -> Result<Vec<u8>, types::Failure> {
        operation(path.len());
        let file = world(|world| world.files.get(path).cloned());
        let file = file.ok_or_else(|| failure("denied", "this file is not granted to the plugin"))?;
        let bytes = file.ok_or_else(|| failure("not-found", "there is no such file now"))?;
        if bytes.len() > MAX_BYTES {
            return Err(failure("failed", "the file is larger than 1 MiB"));
        }
        carry(bytes.len());
        Ok(bytes)
    }
}

pub(crate) mod call {
    use super::bounds::{answering, carry, operation};
    use super::{failure, types, world};

    const MAX_HEAD_BYTES: usize = 8192;
    const MAX_ARGUMENTS: usize = 1024;

    pub(crate) fn command(arguments: &[String], body: &[u8]) -> Result<Vec<u8>, types::Failure> {
        let bytes: usize = arguments.iter().map(String::len).sum();
        operation(bytes + body.len());
        let Some(commands) = world(|world| world.commands.clone()) else {
            return Err(failure("denied", "the test has no commands; `Host::commands` gives some"));
        };
        let refuse = |words| Err(failure("bad-arguments", words));
        if arguments.first().is_none_or(String::is_empty) {
            return refuse("a command needs a name");
        }
        if bytes + arguments.len() > MAX_HEAD_BYTES {
            return refuse("the arguments are longer than 8192 bytes; send large data as the body");
        }
        if arguments.len() > MAX_ARGUMENTS {
            return refuse("there are more than 1024 arguments; send many as the body");
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (answer, _) = answering(None, || commands(&arguments, body));
        let reply = answer.map_err(types::Failure::from)?;
        carry(reply.len());
        Ok(reply)
    }
}

pub(crate) mod clock {
    use std::time::Duration;

    use super::world;

    pub(crate) fn monotonic() -> u64 {
        world(|world| u64::try_from(world.elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn unix_time() -> Duration {
        world(|world| world.began_at + world.elapsed)
    }

    /// No test waits: the clocks advance.
    pub(crate) fn sleep(nanoseconds: u64) {
        super::bounds::pass(Duration::from_nanos(nanoseconds));
    }
}

pub(crate) mod random {
    use super::world;

    const MAX_RANDOM_BYTES: u64 = 1 << 20;

    pub(crate) fn get_random_bytes(count: u64) -> Vec<u8> {
        if count > MAX_RANDOM_BYTES {
            super::bounds::stop("plugin-trapped", "asked for more than 1 MiB of random bytes at once");
        }
        let numbers = std::iter::repeat_with(get_random_u64).flat_map(u64::to_le_bytes);
        numbers.take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
    }

    /// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    pub(crate) fn get_random_u64() -> u64 {
        world(|world| {
            world.seed = world.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut number = world.seed;
            number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^ (number >> 31)
        })
    }
}
