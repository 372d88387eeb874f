//! Commands that never join a batch: those that stream, and those with an `Idempotency-Key`, which run once
//! however often their requests are sent.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::in_flight::InFlight;
use super::reply_budget::{Completed, ReplyBudget};
use super::session::Session;
use crate::idempotency::{Asked, Claim, Claimed, Ledger, refused_of_stream};
use crate::plugin::{Call, ClientCall, ClientLimit, Ended, Plugin, pipe, run_one, run_streaming, timed_out};
use crate::wire::{Code, CommandError, NEEDS_SEQUENCE, Outcome};

/// Begins `call` of `plugin` as a task.
///
/// # Errors
///
/// The reply, if it can't begin.
pub(super) fn begin(
    session: &Session,
    plugin: &Arc<Plugin>,
    call: &Arc<Call>,
    in_flight: &mut InFlight,
) -> Result<(), CommandError> {
    let (is_keyed, streams) = (call.request().idempotency_key().is_some(), plugin.is_streaming());
    if streams && is_keyed {
        return Err(refused_of_stream());
    }
    if streams && call.request().sequence().is_none() {
        return Err(CommandError::not_run(Code::ReplyUnframeable, NEEDS_SEQUENCE));
    }
    call.check_deadline(Instant::now())?;
    let call = Arc::clone(call);
    if streams {
        let (writer, parts) = pipe();
        let pending = run_streaming(Some(session.limit.clone()), plugin, Arc::clone(&call), writer);
        in_flight.run(call, pending, Some(parts));
        return Ok(());
    }
    let (ledger, limit) = (session.service.idempotency.clone(), session.limit.clone());
    let plugin = Arc::clone(plugin);
    in_flight.run_by(Arc::clone(&call), |budget| run_once(ledger, limit, budget, plugin, call));
    Ok(())
}

/// Runs `call` unless it was run before. Its reply is stored before it is returned.
async fn run_once(
    ledger: Ledger,
    limit: ClientLimit,
    budget: ReplyBudget,
    plugin: Arc<Plugin>,
    call: Arc<Call>,
) -> Completed {
    loop {
        let error = match timeout_at(call.deadline, claim(&ledger, &limit, &plugin, &call)).await {
            Ok(Claimed::Free(claim)) => return run(claim, budget, plugin, call).await,
            Ok(Claimed::Kept(kept)) => {
                // Holds nothing while the reply budget is spent: no reply, and nothing that others wait for.
                if let Some(completed) = budget.read(kept.bytes(), kept.read()).await {
                    tracing::debug!(target: "lictor::command", request = %call.id(), "answered by its Idempotency-Key");
                    return completed;
                }
                continue;
            }
            Ok(Claimed::Refused(error)) => error,
            Err(_elapsed) => timed_out(),
        };
        return budget.hold(Err(error), 0, ()).await;
    }
}

/// Runs `call`, which is claimed, and stores its reply.
async fn run(
    claim: Claim<ClientCall>,
    budget: ReplyBudget,
    plugin: Arc<Plugin>,
    call: Arc<Call>,
) -> Completed {
    let Ended { reply, held } = run_one(None, &plugin, call).await;
    match claim.settle(reply, held).await {
        Some((reply, held, reserved)) => budget.hold(reply, 0, (held, reserved)).await,
        None => Completed::instead(CommandError::unknown(Code::Internal, "The server failed")),
    }
}

/// Claims the right to run `call`, once its client may have one more running: a claim is a write to the
/// state, for which others wait.
async fn claim(
    ledger: &Ledger,
    limit: &ClientLimit,
    plugin: &Plugin,
    call: &Arc<Call>,
) -> Claimed<ClientCall> {
    let reserved = match plugin.reserve(limit, call).await {
        Ok(reserved) => reserved,
        Err(error) => return Claimed::Refused(error),
    };
    let asked = Asked {
        client: &call.caller.name_shared(),
        key: call.request().idempotency_key().unwrap_or_default(),
        request: call.request(),
        time_left: call.deadline.saturating_duration_since(Instant::now()),
    };
    let begun = Arc::clone(call);
    ledger.claim(asked, reserved, move || begun.outcome_if_stopped() == Outcome::Unknown).await
}
