//! The bounds of a config: each held to its range, and those of `[limits]` to each other.

use crate::config::fields::{Field, Findings};
use crate::config::limits::{self, Bound, FromAmount, Limits, Quantity, RawLimits};

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
    let (part, name, most) = (part_bound.key, whole_bound.key, whole_bound.written(whole as u64));
    let fault = findings
        .error(format!("`limits.{part}` is more than `limits.{name}`"))
        .at(given.span(), format!("more than {most}"));
    let fault = match whole_field.given() {
        Some(whole) => fault.at(whole.span(), "than this"),
        None => fault,
    };
    fault.help(format!("lower `{part}` to {most}, or raise `{name}`")).done();
}
