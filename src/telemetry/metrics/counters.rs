//! Counters of how often each bound was met, under the names that monitoring uses.
//!
//! A counter is raised where something is refused, delayed or dropped, never on success. Counters are global
//! to the process, as the log is, so that callers need no handle.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::Family;

/// Two lines for each counter: its name here and its exported name; and its description. Makes the list and
/// the type.
macro_rules! counters {
    ($($counter:ident $name:literal, $help:literal;)*) => {
        /// A counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $(#[doc = $help] $counter,)* }

        /// Every counter, with its name and description.
        const COUNTERS: &[(Counter, &str, &str)] = &[$((Counter::$counter, $name, $help),)*];

        static COUNTS: [AtomicU64; COUNTERS.len()] = [const { AtomicU64::new(0) }; COUNTERS.len()];
    };
}

counters! {
    ConnectionsDelayed "lictor_connections_delayed_total",
        "Times that accepting had to wait, as all places for connections were taken.";
    ConnectionsRefused "lictor_connections_refused_total",
        "Connections that were closed at once, as their address had as many as it may.";
    ClientConnectionsRefused "lictor_client_connections_refused_total",
        "Connections that were closed, as their client had as many as it may.";
    AdminConnectionsEnded "lictor_admin_connections_ended_total",
        "Connections of admin listeners that ended for newer ones, as their listener had as many as it may.";
    HandshakesDelayed "lictor_handshakes_delayed_total",
        "Handshakes that had to wait for those of others.";
    HandshakesOfAddressDelayed "lictor_handshakes_of_address_delayed_total",
        "Handshakes that had to wait for others of their own address.";
    HandshakesOverRate "lictor_handshakes_over_rate_total",
        "Handshakes that had to wait, as their address had sent as many strangers in a second as it may.";
    ConnectionsSilent "lictor_connections_silent_total",
        "Connections whose peer closed them without a byte, as a balancer's check does.";
    HandshakesTimedOut "lictor_handshakes_timed_out_total",
        "Connections that were closed, as their peer was not known in time.";
    HeadsTimedOut "lictor_heads_timed_out_total",
        "Connections that ended, as a request's head did not come in time.";
    BodiesTimedOut "lictor_bodies_timed_out_total",
        "Connections that ended, as a request's body did not come in time.";
    IdleClosed "lictor_idle_connections_closed_total",
        "Connections that were closed, as nothing came for too long.";
    UnreadCut "lictor_unread_connections_cut_total",
        "Connections that were cut off, as their client took nothing for too long.";
    HeadsTooLarge "lictor_heads_too_large_total",
        "Requests whose head is too large, or has too many arguments or headers.";
    BodiesTooLarge "lictor_bodies_too_large_total",
        "Requests whose body is too large.";
    InFlightFull "lictor_in_flight_full_total",
        "Times that a connection was not read on, as too many of its requests were under way.";
    InFlightBytesFull "lictor_in_flight_bytes_full_total",
        "Times that a connection was not read on, as its requests under way had too many bytes.";
    UnwrittenFull "lictor_unwritten_full_total",
        "Times that a connection was not read on, as its client had not taken its replies.";
    RateLimited "lictor_requests_rate_limited_total",
        "Requests that were more than their client may send in a second.";
    WouldBeForbidden "lictor_commands_would_be_forbidden_total",
        "Commands that no pattern of their client allows, and that ran as report_until has them reported only.";
    ClientCallsDelayed "lictor_client_calls_delayed_total",
        "Calls that had to wait for others of their own client.";
    CommandsDelayed "lictor_commands_delayed_total",
        "Calls that had to wait for a slot, as all for commands were taken.";
    StreamsDelayed "lictor_streams_delayed_total",
        "Calls that had to wait for a slot, as all for streams were taken.";
    PluginCallsDelayed "lictor_plugin_calls_delayed_total",
        "Calls that had to wait for others of their plugin.";
    NestedCallsRefused "lictor_nested_calls_refused_total",
        "Commands of plugins that were refused, as too many such were running.";
    QueueFull "lictor_queue_full_total",
        "Calls that were refused, as too many waited.";
    QueueTimedOut "lictor_queue_timed_out_total",
        "Calls that were refused, as they had waited for too long.";
    CallsTimedOut "lictor_calls_timed_out_total",
        "Calls that were stopped at their deadline, or not begun after it.";
    CpuTimeUsedUp "lictor_cpu_time_used_up_total",
        "Calls that were stopped, as they had computed for too long.";
    GuestsUncounted "lictor_guests_uncounted_total",
        "Ticks that reached a plugin's code which was not counted as entered: a fault of the server.";
    MemoryMarkPassed "lictor_process_memory_mark_passed_total",
        "Times that the process came to hold more memory than limits.process_memory.";
    InstanceMemoryUsedUp "lictor_instance_memory_used_up_total",
        "Times that an instance was given no more memory, as it had all that it may have.";
    PluginMemoryUsedUp "lictor_plugin_memory_used_up_total",
        "Times that an instance was given no memory, as all instances together had all that they may have.";
    IdleInstancesGivenUp "lictor_idle_instances_given_up_total",
        "Idle warm instances that were given up to make room.";
    RepliesTooLarge "lictor_replies_too_large_total",
        "Calls whose reply is too large.";
    PiecesTooLarge "lictor_host_pieces_too_large_total",
        "Calls that broke off, as their plugin handed the host more at once than it takes.";
    StreamsHeldBack "lictor_streams_held_back_total",
        "Times that a stream's plugin had to wait for its client to take what there was.";
    HostCallsUsedUp "lictor_host_calls_used_up_total",
        "Calls that were stopped, as they had asked for too many operations of the host.";
    HostBytesUsedUp "lictor_host_bytes_used_up_total",
        "Times that a call was refused bytes by the host, as it had moved too many.";
    HandlesUsedUp "lictor_handles_used_up_total",
        "Calls that broke off, as their instance held too many handles.";
    FoldersTooLarge "lictor_folders_too_large_total",
        "Folders that were not listed for a plugin, as they have too many entries.";
    HttpDelayed "lictor_http_requests_delayed_total",
        "HTTP requests of plugins that had to wait for others.";
    HttpLookupsDelayed "lictor_http_lookups_delayed_total",
        "Look-ups of names for plugins that had to wait for others.";
    StoreQuotasUsedUp "lictor_store_quotas_used_up_total",
        "Writes that were refused, as their store has all that it may have.";
    IdempotencyKeysUsedUp "lictor_idempotency_keys_used_up_total",
        "Requests that were refused, as their client has all Idempotency-Keys that it may have.";
    IdempotencyNotKept "lictor_idempotency_answers_not_kept_total",
        "Answers that were given and not kept for their Idempotency-Key, as there was no room.";
    StateUnavailable "lictor_state_unavailable_total",
        "Operations on stores that the state's engine could not carry out, a full file among the reasons.";
    EventsUnlogged "lictor_log_events_counted_total",
        "Events that were counted instead of logged, commands among them.";
    LinesDropped "lictor_log_lines_dropped_total",
        "Lines of the log that were dropped, as too many bytes of lines before them had not been read.";
    SpansDropped "lictor_trace_spans_dropped_total",
        "Spans that were dropped, as too many waited for the collector, or it did not take them.";
    TracesOverRate "lictor_traces_over_rate_total",
        "Requests whose traceparent wants them recorded, and that were more than their client may have in a second.";
    ComponentsTooLarge "lictor_components_too_large_total",
        "Components that were not loaded, as their file is too large.";
    CompileMemoryUsedUp "lictor_compile_memory_used_up_total",
        "Components that were not loaded, as compiling them took too much memory.";
    CompileTimeUsedUp "lictor_compile_time_used_up_total",
        "Components that were not loaded, as compiling them took too long.";
    DumpsRemoved "lictor_core_dumps_removed_total",
        "Core dumps that were removed for newer ones.";
}

impl Counter {
    /// Counts one.
    pub fn count(self) {
        self.add(1);
    }

    /// Adds `number`.
    pub fn add(self, number: u64) {
        COUNTS[self as usize].fetch_add(number, Ordering::Relaxed);
    }

    fn value(self) -> u64 {
        COUNTS[self as usize].load(Ordering::Relaxed)
    }
}

/// The counters above zero, with their names.
pub fn counted() -> impl Iterator<Item = (&'static str, u64)> {
    let all = COUNTERS.iter().map(|(counter, name, _)| (*name, counter.value()));
    all.filter(|(_, count)| *count > 0)
}

/// All counters.
pub(super) fn families() -> impl Iterator<Item = Family> {
    COUNTERS.iter().map(|(counter, name, help)| Family::counter(name, help, counter.value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_place_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = COUNTERS.iter().map(|(_, name, _)| name).collect();
        assert_eq!(names.len(), COUNTERS.len());
        for (place, (counter, name, help)) in COUNTERS.iter().enumerate() {
            assert_eq!(*counter as usize, place);
            assert!(name.starts_with("lictor_") && name.ends_with("_total") && help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn what_was_counted_is_told() {
        Counter::DumpsRemoved.add(3);
        assert!(counted().any(|(name, count)| name == "lictor_core_dumps_removed_total" && count >= 3));
        assert_eq!(families().count(), COUNTERS.len());
    }
}
