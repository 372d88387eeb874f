//! Commands that are no part of a batch: those that stream, and those that are run once, however often their requests are
//! sent, by the `Idempotency-Key`.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::lanes::{Lanes, Ticket};
use super::session::Session;
use crate::idempotency::{Asked, Claimed, Ledger};
use crate::plugin::{Call, Ended, Plugin, Seat, invoke};
use crate::wire::{Code, CommandError, Outcome, Request};

/// Begins a command of `plugin` by `request`, as one of `lanes`.
///
/// # Errors
///
/// What its client is to be told where it can't begin.
#[expect(clippy::result_large_err, reason = "the ticket goes back to be answered, once a command")]
pub(super) fn begin(
    session: &Session,
    ticket: Ticket,
    request: Request,
    plugin: &Arc<Plugin>,
    lanes: &mut Lanes,
) -> Result<(), (Ticket, CommandError)> {
    let has_key = request.idempotency_key().is_some();
    if plugin.is_streaming() && has_key {
        let words = "A command that streams takes no Idempotency-Key; send the request without one";
        return Err((ticket, CommandError::not_run(Code::BadArguments, words)));
    }
    if plugin.is_streaming() {
        return session.stream(ticket, request, plugin, lanes);
    }
    let now = Instant::now();
    let call = session.call(request, plugin, ticket.id, ticket.arrived, now);
    if let Err(error) = call.check_deadline(now) {
        return Err((ticket, error));
    }
    let ledger = session.service.idempotency.clone();
    let command = run_once(ledger, session.seat(), Arc::clone(plugin), Arc::clone(&call));
    lanes.run(ticket, call, plugin.aside(Box::pin(command)), None);
    Ok(())
}

/// Runs `call` unless it was run before. What it gives is kept before it is given.
async fn run_once(ledger: Ledger, seat: Seat, plugin: Arc<Plugin>, call: Arc<Call>) -> Ended {
    match timeout_at(call.deadline, claim(&ledger, &call)).await {
        Ok(Claimed::Told(answer)) => {
            tracing::debug!(target: "lictor::command", request = %call.id, "answered by its Idempotency-Key");
            Ended { answer, seat }
        }
        Ok(Claimed::Free(claim)) => {
            let ended = invoke(seat, plugin, call).await;
            claim.settle(&ended.answer).await;
            ended
        }
        Err(_elapsed) => {
            let words = "The deadline passed before the command began";
            Ended { answer: Err(CommandError::not_run(Code::Timeout, words)), seat }
        }
    }
}

async fn claim(ledger: &Ledger, call: &Arc<Call>) -> Claimed {
    let asked = Asked {
        client: &call.caller.name_shared(),
        key: call.request.idempotency_key().unwrap_or_default(),
        request: &call.request,
        time_left: call.deadline.saturating_duration_since(Instant::now()),
    };
    let begun = Arc::clone(call);
    ledger.claim(asked, move || begun.outcome_if_stopped() == Outcome::Unknown).await
}
