//! Every bound that the config file can change: its default, range and reason, in one place.
//!
//! Knows nothing of the code that enforces them.

use std::time::Duration;

use super::fields::{Field, Findings};
use super::table::table;
use crate::units::{ByteSize, SizeOrPart, TimeSpan};

/// The unit of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// A time.
    TimeSpan,
    /// A size in bytes.
    ByteSize,
}

/// A bound that the config file can change.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Its section in the config file: `limits`, `plugins.NAME` and so on.
    pub section: &'static str,
    /// Its key in that section.
    pub key: &'static str,
    /// Its unit; times are in milliseconds, sizes in bytes.
    pub unit: Unit,
    /// The value if the key is absent; `None` if something else in the config decides.
    pub default: Option<u64>,
    /// The least allowed value.
    pub least: u64,
    /// The greatest allowed value.
    pub most: u64,
    /// Its purpose, and the reason for its value.
    pub reason: &'static str,
}

impl Bound {
    /// Formats `amount` as the config file writes it.
    #[must_use]
    pub fn written(&self, amount: u64) -> String {
        match self.unit {
            Unit::Count => amount.to_string(),
            Unit::TimeSpan => TimeSpan::from_milliseconds(amount).to_string(),
            Unit::ByteSize => ByteSize::from_bytes(amount).to_string(),
        }
    }

    /// Names the limit of the range that `amount` exceeds, such as `the minimum is 128MiB`.
    #[must_use]
    pub fn exceeded_by(&self, amount: u64) -> Option<String> {
        if amount < self.least {
            Some(format!("the minimum is {}", self.written(self.least)))
        } else if amount > self.most {
            Some(format!("the maximum is {}", self.written(self.most)))
        } else {
            None
        }
    }

    /// Returns the value of `field` in the section `at` if within range, else the default. A value out of
    /// range is reported as a fault.
    pub(super) fn hold<Q: Quantity>(
        &self,
        at: &str,
        field: &Field<Q>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let Some(given) = field.given() else { return self.default };
        let amount = given.get_ref().amount();
        let Some(edge) = self.exceeded_by(amount) else { return Some(amount) };
        let quote = if self.unit == Unit::Count { "" } else { "\"" };
        let [least, most] = [self.least, self.most].map(|a| format!("{quote}{}{quote}", self.written(a)));
        let name = findings.name(at, self.key);
        findings
            .error(format!("`{name}` can't be {}", self.written(amount)))
            .at(given.span(), edge)
            .help(format!("write a value from {least} to {most}"))
            .done();
        self.default
    }
}

/// A type a bound is written as.
pub(super) trait Quantity {
    /// The number to compare: milliseconds, bytes or a count.
    fn amount(&self) -> u64;
}

impl Quantity for u64 {
    fn amount(&self) -> u64 {
        *self
    }
}

impl Quantity for TimeSpan {
    fn amount(&self) -> u64 {
        self.milliseconds()
    }
}

impl Quantity for ByteSize {
    fn amount(&self) -> u64 {
        self.bytes()
    }
}

/// A type a bound has in the config.
pub(super) trait FromAmount {
    fn from_amount(amount: u64) -> Self;
}

impl FromAmount for Duration {
    fn from_amount(amount: u64) -> Self {
        Self::from_millis(amount)
    }
}

impl FromAmount for usize {
    fn from_amount(amount: u64) -> Self {
        Self::try_from(amount).unwrap_or(Self::MAX)
    }
}

impl FromAmount for u64 {
    fn from_amount(amount: u64) -> Self {
        amount
    }
}

impl FromAmount for u16 {
    fn from_amount(amount: u64) -> Self {
        Self::try_from(amount).unwrap_or(Self::MAX)
    }
}

impl FromAmount for u32 {
    fn from_amount(amount: u64) -> Self {
        Self::try_from(amount).unwrap_or(Self::MAX)
    }
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// One line for each key of `[limits]`: its field, the field's type, the type in the file, default, least,
/// most and reason. Generates the struct, its raw table and the list for the documentation.
macro_rules! limits {
    ($($key:ident => $field:ident: $type:ty, $unit:ident($raw:ty), $default:expr, $least:expr, $most:expr, $reason:literal;)*) => {
        /// `[limits]`: bounds on the resources that one peer, and all of them together, may use.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $reason] pub $field: $type,)*
            /// The process memory above which the server takes on no new work: a backstop for what no other
            /// bound covers.
            pub process_memory: SizeOrPart,
        }

        table! {
            /// `[limits]` as written.
            RawLimits { $($key: $raw,)* process_memory: SizeOrPart, }
        }

        const LIMITS: &[Bound] = &[$($key,)*];

        $(
            #[allow(non_upper_case_globals)] // named as the key is, so that one macro makes both
            pub(super) const $key: Bound = Bound {
                section: "limits", key: stringify!($key), unit: Unit::$unit,
                default: Some($default), least: $least, most: $most, reason: $reason,
            };
        )*

        impl Default for Limits {
            fn default() -> Self {
                Self {
                    $($field: <$type as FromAmount>::from_amount($default),)*
                    process_memory: PROCESS_MEMORY,
                }
            }
        }

        impl Limits {
            /// Lists the keys whose values differ in `other`.
            pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
                let mut keys = Vec::new();
                $(if self.$field != other.$field { keys.push(stringify!($key)); })*
                if self.process_memory != other.process_memory { keys.push("process_memory"); }
                keys
            }

            /// Reads the bounds of `raw`, with defaults for absent ones. Does not check them against each
            /// other.
            pub(super) fn each_held(raw: &RawLimits, findings: &mut Findings) -> Self {
                Self {
                    $($field: FromAmount::from_amount($key.hold("limits", &raw.$key, findings).unwrap_or($default)),)*
                    process_memory: process_memory(&raw.process_memory, findings),
                }
            }
        }
    };
}

/// Leaves a fifth for growth between two checks, and for the kernel's share.
const PROCESS_MEMORY: SizeOrPart = SizeOrPart::Percent(80);

/// The least `process_memory` as a size: a bit more than an idle server uses.
const LEAST_PROCESS_MEMORY: ByteSize = ByteSize::from_bytes(32 * MIB);

fn process_memory(field: &Field<SizeOrPart>, findings: &mut Findings) -> SizeOrPart {
    let Some(given) = field.given() else { return PROCESS_MEMORY };
    match given.get_ref() {
        SizeOrPart::Size(size) if *size < LEAST_PROCESS_MEMORY => {
            findings
                .error(format!("`limits.process_memory` can't be {size}"))
                .at(given.span(), format!("the minimum is {LEAST_PROCESS_MEMORY}"))
                .help(format!(
                    "write \"{LEAST_PROCESS_MEMORY}\" or more, or a part such as \"{PROCESS_MEMORY}\""
                ))
                .done();
            PROCESS_MEMORY
        }
        held => *held,
    }
}

limits! {
    connections => connections: usize, Count(u64), 16_384, 1, 1_000_000,
        "Connections at once. Each takes a file and, while idle, some 12 KB; more wait to be accepted.";
    connections_per_address => connections_per_address: usize, Count(u64), 10_240, 1, 1_000_000,
        "Connections at once from one address, IPv6 by /64 (a /56 has twice, a /48 four times as many), so that one host can't take all.";
    unauthenticated_connections => unauthenticated_connections: usize, Count(u64), 1_024, 1, 1_000_000,
        "Connections at once whose client is not known yet: what strangers can hold.";
    unauthenticated_per_address => unauthenticated_per_address: usize, Count(u64), 512, 1, 1_000_000,
        "Handshakes at once from one address, IPv6 by /64; more wait, so that one stranger can't hold up the rest.";
    handshakes_per_second => handshakes_per_second: u32, Count(u64), 200, 1, 1_000_000,
        "Handshakes of strangers from one address in a second, IPv6 by /64, and as many at once; more wait. Those of clients don't count.";
    handshake_timeout => handshake_timeout: Duration, TimeSpan(TimeSpan), 10 * SECOND, 1, DAY,
        "One deadline for the TLS handshake and the authorization after it; a stranger gets no longer than this.";
    head_timeout => head_timeout: Duration, TimeSpan(TimeSpan), 10 * SECOND, 1, DAY,
        "From the first byte of a request's head to its last, so that a trickling client can't hold a connection.";
    body_timeout => body_timeout: Duration, TimeSpan(TimeSpan), 30 * SECOND, 1, DAY,
        "From the end of a request's head to the last byte of its body.";
    idle_timeout => idle_timeout: Duration, TimeSpan(TimeSpan), HOUR, 1, DAY,
        "A connection with no request in flight and no byte received for so long is closed.";
    write_timeout => write_timeout: Duration, TimeSpan(TimeSpan), 30 * SECOND, 1, DAY,
        "A client that takes no byte of its replies for so long is cut off, since they are held in memory.";
    in_flight => in_flight: usize, Count(u64), 128, 1, 1_000_000,
        "Framed requests that run and plain ones that wait, on one connection; past it the server stops reading.";
    in_flight_bytes => in_flight_bytes: usize, ByteSize(ByteSize), 4 * MIB, 8 * KIB, 4 * GIB,
        "Bytes of requests held for one connection; past it the server stops reading.";
    body => body_bytes: usize, ByteSize(ByteSize), MIB, 0, GIB,
        "The largest `Size` of a request; a larger one is refused before its body is read.";
    concurrent_commands => concurrent_commands: usize, Count(u64), 256, 1, 4_096,
        "Calls of plugins that run at once in the whole process: each holds an instance and its memory.";
    concurrent_commands_per_client => concurrent_commands_per_client: usize, Count(u64), 128, 1, 4_096,
        "The most of these, streams included, for one client over all its connections: it leaves turns to the others.";
    requests_per_second => requests_per_second: u32, Count(u64), 1_000_000, 1, 1_000_000,
        "Requests of one client in a second, over all its connections, and as many at once; more are answered `rate-limited`. The most is no bound.";
    concurrent_streams => concurrent_streams: usize, Count(u64), 256, 1, 4_096,
        "Commands that stream at once in the whole process, beside the others: each holds an instance and its memory.";
    plugin_memory => plugin_memory_bytes: usize, ByteSize(ByteSize), 2 * GIB, MIB, 1_024 * GIB,
        "Memory of all instances together, warm ones among them; a call that would need more is answered `busy`.";
    http_requests => http_requests: usize, Count(u64), 64, 1, 4_096,
        "HTTP requests that plugins have under way at once in the whole process; more wait.";
    component_size => component_bytes: usize, ByteSize(ByteSize), 64 * MIB, KIB, GIB,
        "The largest component: it is read whole. One of Python has 18MiB.";
    compile_memory => compile_memory_bytes: usize, ByteSize(ByteSize), 2 * GIB, 128 * MIB, 1_024 * GIB,
        "The most memory that compiling a component may take, in the address space of a process of its own.";
    compile_time => compile_time: Duration, TimeSpan(TimeSpan), MINUTE, 1, DAY,
        "The most time that compiling a component may take, by the clock and in processor time; a reload waits for it.";
    queue => queue: usize, Count(u64), 4_096, 1, 1_000_000,
        "Calls that wait for their turn to run; more are answered `busy` at once.";
    queue_timeout => queue_timeout: Duration, TimeSpan(TimeSpan), SECOND, 1, DAY,
        "A call that waited so long for its turn is answered `busy`: by then its client would rather know.";
    idempotency_window => idempotency_window: Duration, TimeSpan(TimeSpan), 10 * MINUTE, 0, 30 * DAY,
        "How long an answer is kept for its `Idempotency-Key`: for as long as clients try again. With 0 no such key is taken.";
    idempotency_keys => idempotency_keys: u64, Count(u64), 10_000, 1, 1_000_000_000,
        "The most such keys that are kept of one client; further ones are answered `rate-limited`, so that none fills the disk.";
    idempotency_bytes => idempotency_bytes: u64, ByteSize(ByteSize), 64 * MIB, KIB, 1_024 * GIB,
        "The most bytes of these keys and their answers of one client.";
}

/// Two lines for each bound outside `[limits]`: its section, key, unit, default, least and most; and its
/// reason.
macro_rules! bounds {
    ($($name:ident: $section:literal $key:literal, $unit:ident, $default:expr, $least:expr, $most:expr, $reason:literal;)*) => {
        $(
            pub(super) const $name: Bound = Bound {
                section: $section, key: $key, unit: Unit::$unit,
                default: $default, least: $least, most: $most, reason: $reason,
            };
        )*

        const OTHERS: &[Bound] = &[$($name,)*];
    };
}

bounds! {
    DRAIN_TIMEOUT: "server" "drain_timeout", TimeSpan, Some(10 * SECOND), 1, DAY,
        "How long a shutdown waits for requests in flight before it cuts them off.";
    COMMANDS_PER_SECOND: "log" "commands_per_second", Count, Some(1_000), 0, 1_000_000,
        "Successful commands logged one by one in a second; more are only counted, so that load can't fill the disk.";
    CLIENT_RATE: "clients.NAME.limits" "requests_per_second", Count, None, 1, 1_000_000,
        "The client's requests in a second, and as many at once; more are answered `rate-limited`.";
    CLIENT_COMMANDS: "clients.NAME.limits" "concurrent_commands", Count, None, 1, 4_096,
        "The client's calls that run at once, streams included; more wait.";
    CLIENT_CONNECTIONS: "clients.NAME.limits" "connections", Count, None, 1, 1_000_000,
        "The client's connections at once; more are told so and closed.";
    CLIENT_KEYS: "clients.NAME.limits" "idempotency_keys", Count, None, 1, 1_000_000_000,
        "The most keys that are kept of the client; further ones are answered `rate-limited`.";
    CLIENT_KEY_BYTES: "clients.NAME.limits" "idempotency_bytes", ByteSize, None, KIB, 1_024 * GIB,
        "The most bytes of these keys and their answers.";
    PLUGIN_TIMEOUT: "plugins.NAME" "timeout", TimeSpan, Some(5 * SECOND), 1, DAY,
        "The most time that a call may take; then it is stopped and answered `timeout`.";
    PLUGIN_CPU_TIME: "plugins.NAME" "cpu_time", TimeSpan, None, 1, DAY,
        "The most time that a call may compute; waiting for a store or the network does not count.";
    PLUGIN_HOST_CALLS: "plugins.NAME" "host_calls", Count, Some(10_000), 0, 1_000_000_000,
        "The most operations on stores, files, the network and other commands in one call.";
    PLUGIN_HOST_BYTES: "plugins.NAME" "host_bytes", ByteSize, Some(64 * MIB), 0, 64 * GIB,
        "The most bytes that these operations of one call carry, both ways together.";
    PLUGIN_STORE_KEYS: "plugins.NAME" "store_keys", Count, None, 1, 1_000_000_000,
        "The most keys in each of the plugin's own stores.";
    PLUGIN_STORE_BYTES: "plugins.NAME" "store_bytes", ByteSize, None, KIB, 1_024 * GIB,
        "The most bytes of keys and values in each of the plugin's own stores.";
    STATE_STORE_KEYS: "state" "store_keys", Count, Some(100_000), 1, 1_000_000_000,
        "The most keys in a store, where its plugin says nothing else.";
    STATE_STORE_BYTES: "state" "store_bytes", ByteSize, Some(64 * MIB), KIB, 1_024 * GIB,
        "The most bytes of keys and values in a store, where its plugin says nothing else.";
    CLIENT_LABELS: "admin" "client_labels", Count, Some(0), 0, 1000,
        "The most clients that have a label of their own in the metrics, by name; the others share `other`, so that labels stay few.";
    STATE_FILE_SIZE: "state" "file_size", ByteSize, None, MIB, 1_024 * GIB,
        "The most that the file of `sqlite` may grow to; writes that need more are answered `unavailable`.";
    PLUGIN_MEMORY: "plugins.NAME" "memory", ByteSize, Some(64 * MIB), 64 * KIB, 4 * GIB,
        "The most memory of an instance, all its memories and tables together. A page is 64KiB, an address 32 bits.";
    PLUGIN_REPLY: "plugins.NAME" "reply", ByteSize, Some(MIB), 1, GIB,
        "The largest reply: it is held in memory until the client has taken it.";
    PLUGIN_CONCURRENCY: "plugins.NAME" "concurrency", Count, None, 1, 4_096,
        "The most calls of this plugin at once, so that it leaves turns to the others.";
    PLUGIN_MAX_CALLS: "plugins.NAME" "max_calls", Count, Some(10_000), 1, 1_000_000_000,
        "A warm instance is retired at its n-th call, so that what it leaks does not add up.";
    PLUGIN_IDLE_TIMEOUT: "plugins.NAME" "idle_timeout", TimeSpan, Some(60 * SECOND), 1, DAY,
        "A warm instance unused for so long is dropped and its memory given back.";
}

/// Iterates over every bound of the config file, for its documentation.
pub fn bounds() -> impl Iterator<Item = &'static Bound> {
    static ALL: &[&[Bound]] = &[LIMITS, OTHERS];
    ALL.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_range() {
        assert!(bounds().count() > 20);
        for bound in bounds() {
            let default = bound.default.unwrap_or(bound.least);
            assert!((bound.least..=bound.most).contains(&default), "{}", bound.key);
            assert!(bound.reason.ends_with('.'), "{}", bound.key);
        }
    }
}
