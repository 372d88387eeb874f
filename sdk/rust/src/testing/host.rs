//! The host that a command runs on in a test.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::events::Event;
use crate::host::fake::{World, one_call, state, within};
use crate::{Command, Failure, http};

/// Everything that the functions of the host provide to a command. It serves this thread alone and keeps the
/// changes of commands: the next command reads what an earlier one stored.
///
/// Everything that a test adds is granted, and so is the store `default`. Any other file, store or address is
/// `denied`. No test waits: [`clock::sleep`](crate::clock::sleep) advances the clocks, and a command that
/// sleeps past its deadline fails with `timeout`.
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
    /// Makes a host with a request of the client `tester`, without headers and body, and with nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(self, change: impl FnOnce(&mut World)) -> Self {
        change(&mut self.world.borrow_mut());
        self
    }

    /// Sets the client that sends the requests.
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

    /// Sets the time a command has left; 5 s by default.
    pub fn time_left(self, span: Duration) -> Self {
        self.with(|world| world.time_left = span)
    }

    /// Sets a key of the plugin's config.
    pub fn config(self, key: &str, value: &str) -> Self {
        self.with(|world| drop(world.config.insert(key.into(), value.into())))
    }

    /// Grants a file with this content.
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.with(|world| drop(world.files.insert(path.into(), Some(content.into()))))
    }

    /// Grants a file that does not exist.
    pub fn missing_file(self, path: &str) -> Self {
        self.with(|world| drop(world.files.insert(path.into(), None)))
    }

    /// Grants an empty store. `default` is always granted.
    pub fn store(self, name: &str) -> Self {
        self.with(|world| world.stores.grant(name))
    }

    /// Grants a store, and adds an entry that does not expire.
    ///
    /// # Panics
    ///
    /// If the key or the value is not valid.
    pub fn entry(self, store: &str, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.world.borrow_mut().stores.grant(store);
        let written = self.within(|| state::set(store, key, value.as_ref(), None));
        assert!(written.is_ok(), "the entry {key} can't be written: {written:?}");
        self
    }

    /// Makes every operation on stores fail, until set to `None`.
    pub fn stores_fail(self, failure: Option<Failure>) -> Self {
        self.with(|world| world.stores.failure = failure.map(Into::into))
    }

    /// Answers HTTP requests. The function may sleep, to be slow: a request with a shorter timeout fails with
    /// [`TimedOut`](http::Error::TimedOut).
    pub fn web(
        self,
        answer: impl Fn(&http::Request) -> Result<http::Response, http::Error> + 'static,
    ) -> Self {
        self.with(|world| world.web = Some(Rc::new(answer)))
    }

    /// Answers commands that the plugin runs, given their arguments, the name first, and their body.
    pub fn commands(self, answer: impl Fn(&[&str], &[u8]) -> Result<Vec<u8>, Failure> + 'static) -> Self {
        self.with(|world| world.commands = Some(Rc::new(answer)))
    }

    /// Queues an event for commands that subscribe to its topic.
    pub fn event(self, topic: &str, data: impl Into<Vec<u8>>) -> Self {
        self.with(|world| world.coming.push_back(Event { topic: topic.into(), data: data.into(), lost: 0 }))
    }

    /// Sets the time of day, counted from 1970.
    pub fn unix_time(self, time: Duration) -> Self {
        self.with(|world| world.began_at = time.saturating_sub(world.elapsed))
    }

    /// Seeds the random numbers.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|world| world.seed = seed)
    }

    /// Advances the clocks, as if the test had waited: entries expire.
    pub fn advance(&self, span: Duration) {
        let mut world = self.world.borrow_mut();
        world.elapsed = world.elapsed.saturating_add(span);
    }

    /// Runs the command that `arguments` names, like [`testing::run`](super::run). Each has the whole time.
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

    /// Does `work` on this host, for instance to call a function of the plugin or to look into a store.
    ///
    /// # Panics
    ///
    /// If the host would end a command that does the same.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        within(&self.world, || one_call(work)).unwrap_or_else(|stopped| panic!("{stopped}"))
    }

    /// Takes the logged lines: as printed by `log_line!`, or with their level, `warn: the file is empty`.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.world.borrow_mut().printed)
    }

    /// Takes the published events.
    pub fn take_published(&self) -> Vec<Event> {
        std::mem::take(&mut self.world.borrow_mut().published)
    }
}
