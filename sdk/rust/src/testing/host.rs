//! What a command finds in a test.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::events::Event;
use crate::host::fake::{World, one_call, state, within};
use crate::{Command, Failure, http};

/// What the functions of the host give a command. It is a host for this thread alone, and keeps what commands change: what
/// one command stores, the next one reads.
///
/// Everything that a test gives it is granted, and the store `default`. Nothing else is there: another file, store or address
/// is `denied`. No test waits: [`clock::sleep`](crate::clock::sleep) sets the clocks on, and a command that sleeps longer than
/// it may fails with `timeout`.
#[derive(Default)]
pub struct Host {
    world: RefCell<World>,
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    /// A host with a request of the client `tester`, without headers and body, and with nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(self, change: impl FnOnce(&mut World)) -> Self {
        change(&mut self.world.borrow_mut());
        self
    }

    /// Has requests come from this client.
    pub fn caller(self, name: &str) -> Self {
        self.with(|world| world.caller.name = name.into())
    }

    /// Adds a header to requests.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|world| world.headers.push((name.into(), value.into())))
    }

    /// Sets the body of requests.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.with(|world| world.body = body.into())
    }

    /// Sets how much time a command has left; 5 s without.
    pub fn time_left(self, span: Duration) -> Self {
        self.with(|world| world.time_left = span)
    }

    /// Sets a key of the plugin's config.
    pub fn config(self, key: &str, value: &str) -> Self {
        self.with(|world| drop(world.config.insert(key.into(), value.into())))
    }

    /// Puts a file there.
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.with(|world| drop(world.files.insert(path.into(), Some(content.into()))))
    }

    /// Has a granted file not be there.
    pub fn missing_file(self, path: &str) -> Self {
        self.with(|world| drop(world.files.insert(path.into(), None)))
    }

    /// Grants a store that is empty. `default` is there without.
    pub fn store(self, name: &str) -> Self {
        self.with(|world| world.stores.grant(name))
    }

    /// Grants a store, and puts an entry that does not expire into it.
    ///
    /// # Panics
    ///
    /// Where the key or the value can't be one.
    pub fn entry(self, store: &str, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.world.borrow_mut().stores.grant(store);
        let written = self.within(|| state::set(store, key, value.as_ref(), None));
        assert!(written.is_ok(), "the entry {key} can't be written: {written:?}");
        self
    }

    /// Has each operation on stores fail, until it is `None`.
    pub fn stores_fail(self, failure: Option<Failure>) -> Self {
        self.with(|world| world.stores.failure = failure.map(Into::into))
    }

    /// Answers HTTP requests. It may sleep, to be slow: a request that is not to take so long is told
    /// [`TimedOut`](http::Error::TimedOut).
    pub fn web(
        self,
        answer: impl Fn(&http::Request) -> Result<http::Response, http::Error> + 'static,
    ) -> Self {
        self.with(|world| world.web = Some(Rc::new(answer)))
    }

    /// Answers commands that the plugin runs, by their arguments, the name first, and their body.
    pub fn commands(self, answer: impl Fn(&[&str], &[u8]) -> Result<Vec<u8>, Failure> + 'static) -> Self {
        self.with(|world| world.commands = Some(Rc::new(answer)))
    }

    /// Has an event come, for commands that subscribe to its topic.
    pub fn event(self, topic: &str, data: impl Into<Vec<u8>>) -> Self {
        self.with(|world| world.coming.push_back(Event { topic: topic.into(), data: data.into(), lost: 0 }))
    }

    /// Sets the time of day, counted from 1970.
    pub fn unix_time(self, time: Duration) -> Self {
        self.with(|world| world.began_at = time.saturating_sub(world.elapsed))
    }

    /// Has random numbers be those that follow from `seed`.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|world| world.seed = seed)
    }

    /// Sets the clocks on, as if a test had waited: entries expire.
    pub fn advance(&self, span: Duration) {
        let mut world = self.world.borrow_mut();
        world.elapsed = world.elapsed.saturating_add(span);
    }

    /// Runs the command that `arguments` names, as [`testing::run`](super::run) does. Each has the whole time.
    pub fn run(&self, commands: &'static [Command], arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        within(&self.world, || super::run(commands, arguments))
    }

    /// Runs a command that writes its reply in parts, as [`testing::stream`](super::stream) does.
    #[cfg(feature = "streaming")]
    pub fn stream(
        &self,
        commands: &'static [crate::streaming::Command],
        arguments: &[&str],
    ) -> (Vec<u8>, Result<(), Failure>) {
        within(&self.world, || super::stream(commands, arguments))
    }

    /// Does `work`, such as to call a function of the plugin or to look into a store, over this host.
    ///
    /// # Panics
    ///
    /// Where the host would end a command that does it.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        within(&self.world, || one_call(work)).unwrap_or_else(|stopped| panic!("{stopped}"))
    }

    /// Takes the lines that were logged: as printed by `log_line!`, or with their level, `warn: the file is empty`.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.world.borrow_mut().printed)
    }

    /// Takes the events that were published.
    pub fn take_published(&self) -> Vec<Event> {
        std::mem::take(&mut self.world.borrow_mut().published)
    }
}
