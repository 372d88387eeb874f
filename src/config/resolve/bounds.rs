//! The bounds of a config: each held to its range, those of `[limits]` to each other, and a client's own to
//! those.

use std::ops::Range;

use toml::Spanned;

use crate::config::OwnLimits;
use crate::config::fields::{Field, Findings};
use crate::config::limits::{self, Bound, FromAmount, Limits, Quantity, RawLimits};
use crate::config::raw::RawOwnLimits;

/// Returns the value of `bound`, or its default.
pub(super) fn held<Q: Quantity, T: FromAmount>(
    bound: &Bound,
    at: &str,
    field: &Field<Q>,
    findings: &mut Findings,
) -> T {
    T::from_amount(bound.hold(at, field, findings).unwrap_or(bound.most))
}

/// Returns the value of `bound`, if set.
pub(super) fn optional<Q: Quantity, T: FromAmount>(
    bound: &Bound,
    at: &str,
    field: &Field<Q>,
    findings: &mut Findings,
) -> Option<T> {
    bound.hold(at, field, findings).map(T::from_amount)
}

/// Resolves `[limits]`.
pub(super) fn limits(field: &Field<RawLimits>, findings: &mut Findings) -> Limits {
    let Some(raw) = field.value() else { return Limits::default() };
    let mut held = Limits::each_held(raw, findings);
    let half = |whole: usize| whole.div_ceil(2);
    within(
        (limits::connections_per_address, &raw.connections_per_address, &mut held.connections_per_address),
        (limits::connections, &raw.connections, held.connections),
        half,
        findings,
    );
    within(
        (
            limits::unauthenticated_connections,
            &raw.unauthenticated_connections,
            &mut held.unauthenticated_connections,
        ),
        (limits::connections, &raw.connections, held.connections),
        half,
        findings,
    );
    within(
        (
            limits::unauthenticated_per_address,
            &raw.unauthenticated_per_address,
            &mut held.unauthenticated_per_address,
        ),
        (
            limits::unauthenticated_connections,
            &raw.unauthenticated_connections,
            held.unauthenticated_connections,
        ),
        half,
        findings,
    );
    within(
        (
            limits::concurrent_commands_per_client,
            &raw.concurrent_commands_per_client,
            &mut held.concurrent_commands_per_client,
        ),
        (limits::concurrent_commands, &raw.concurrent_commands, held.concurrent_commands),
        half,
        findings,
    );
    within(
        (limits::body, &raw.body, &mut held.body_bytes),
        (limits::in_flight_bytes, &raw.in_flight_bytes, held.in_flight_bytes),
        |whole| whole,
        findings,
    );
    held
}

/// Ensures that a part is no larger than the whole. A larger part that was written is a fault. A default that
/// is not smaller becomes the `usual` part of the whole: nobody sees a fault about a value they did not
/// write, and no single party may take everything.
fn within<Q: Quantity>(
    (part_bound, part_field, part): (Bound, &Field<Q>, &mut usize),
    (whole_bound, whole_field, whole): (Bound, &Field<Q>, usize),
    usual: impl Fn(usize) -> usize,
    findings: &mut Findings,
) {
    let Some(given) = part_field.given() else {
        if *part >= whole {
            *part = usual(whole);
        }
        return;
    };
    if *part <= whole {
        return;
    }
    *part = whole;
    let name = format!("limits.{}", part_bound.key);
    report_more((&name, given.span()), (&whole_bound, whole_field, whole as u64), findings);
}

/// Reports that the part called `name` at `span` is more than the whole, a bound of `[limits]`.
fn report_more<Q>(
    (name, span): (&str, Range<usize>),
    (whole_bound, whole_field, whole): (&Bound, &Field<Q>, u64),
    findings: &mut Findings,
) {
    let (key, most) = (whole_bound.key, whole_bound.written(whole));
    let fault =
        findings.error(format!("`{name}` is more than `limits.{key}`")).at(span, format!("more than {most}"));
    let fault = match whole_field.given() {
        Some(whole) => fault.at(whole.span(), "than this"),
        None => fault,
    };
    fault.help(format!("lower `{name}` to {most}, or raise `limits.{key}`")).done();
}

/// Resolves the limits of a client's own in the section `at`, each at most the one of `[limits]`.
pub(super) fn own(
    at: &str,
    field: &Field<RawOwnLimits>,
    (raw_limits, held): (&Field<RawLimits>, &Limits),
    findings: &mut Findings,
) -> OwnLimits {
    let Some(raw) = field.value() else { return OwnLimits::default() };
    let absent = RawLimits::default();
    let whole = raw_limits.value().unwrap_or(&absent);
    OwnLimits {
        requests_per_second: own_bound(
            at,
            (&limits::CLIENT_RATE, &raw.requests_per_second),
            (&limits::requests_per_second, &whole.requests_per_second, held.requests_per_second.into()),
            findings,
        ),
        concurrent_commands: own_bound(
            at,
            (&limits::CLIENT_COMMANDS, &raw.concurrent_commands),
            (
                &limits::concurrent_commands_per_client,
                &whole.concurrent_commands_per_client,
                held.concurrent_commands_per_client as u64,
            ),
            findings,
        ),
        connections: own_bound(
            at,
            (&limits::CLIENT_CONNECTIONS, &raw.connections),
            (&limits::connections, &whole.connections, held.connections as u64),
            findings,
        ),
        idempotency_keys: own_bound(
            at,
            (&limits::CLIENT_KEYS, &raw.idempotency_keys),
            (&limits::idempotency_keys, &whole.idempotency_keys, held.idempotency_keys),
            findings,
        ),
        idempotency_bytes: own_bound(
            at,
            (&limits::CLIENT_KEY_BYTES, &raw.idempotency_bytes),
            (&limits::idempotency_bytes, &whole.idempotency_bytes, held.idempotency_bytes),
            findings,
        ),
    }
}

fn own_bound<Q: Quantity, T: FromAmount>(
    at: &str,
    (bound, field): (&Bound, &Field<Q>),
    whole: (&Bound, &Field<Q>, u64),
    findings: &mut Findings,
) -> Option<T> {
    let own = bound.hold(at, field, findings)?;
    if let Some(span) = field.given().map(Spanned::span).filter(|_| own > whole.2) {
        let name = findings.name(at, bound.key);
        report_more((&name, span), whole, findings);
    }
    Some(T::from_amount(own))
}
