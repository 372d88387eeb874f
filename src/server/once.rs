//! Commands that are no part of a batch: those that stream, and those that are run once, however often their requests are
//! sent, by the `Idempotency-Key`.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::lanes::{Lanes, Ticket};
use super::room::{Given, Room};
use super::session::Session;
use crate::idempotency::{Asked, Claim, Claimed, Ledger, refused_of_stream};
use crate::plugin::{Call, Ended, Plugin, Reserved, Seat, Share, invoke};
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
        return Err((ticket, refused_of_stream()));
    }
    if plugin.is_streaming() {
        return session.stream(ticket, request, plugin, lanes);
    }
    let now = Instant::now();
    let call = session.call(request, plugin, ticket.id, ticket.arrived, now);
    if let Err(error) = call.check_deadline(now) {
        return Err((ticket, error));
    }
    let (ledger, share, plugin) =
        (session.service.idempotency.clone(), session.share.clone(), Arc::clone(plugin));
    lanes.run_in_room(ticket, Arc::clone(&call), |room| run_once(ledger, share, room, plugin, call));
    Ok(())
}

/// Runs `call` unless it was run before. What it gives is kept before it is given.
async fn run_once(ledger: Ledger, share: Share, room: Room, plugin: Arc<Plugin>, call: Arc<Call>) -> Given {
    loop {
        let error = match timeout_at(call.deadline, claim(&ledger, &share, &plugin, &call)).await {
            Ok(Claimed::Free(claim)) => return run(claim, room, plugin, call).await,
            Ok(Claimed::Kept(kept)) => {
                // Nothing is held while there is no room: no answer, and nothing that others wait for.
                if let Some(given) = room.read(kept.bytes(), kept.read()).await {
                    tracing::debug!(target: "lictor::command", request = %call.id, "answered by its Idempotency-Key");
                    return given;
                }
                continue;
            }
            Ok(Claimed::Refused(error)) => error,
            Err(_elapsed) => {
                let words = "The deadline passed before the command began";
                CommandError::not_run(Code::Timeout, words)
            }
        };
        return room.hold(Err(error), 0, ()).await;
    }
}

/// Runs `call`, which is claimed, and keeps what it gives.
async fn run(claim: Claim<Reserved>, room: Room, plugin: Arc<Plugin>, call: Arc<Call>) -> Given {
    // The claim has its part of the client's share.
    let seat = Seat::new(call.caller.clone(), None);
    let command = invoke(seat, Arc::clone(&plugin), call);
    let Ended { answer, seat } = plugin.aside(Box::pin(command)).await;
    match claim.settle(answer, seat).await {
        Some((answer, seat, reserved)) => room.hold(answer, 0, (seat, reserved)).await,
        None => Given::instead(CommandError::unknown(Code::Internal, "The server failed")),
    }
}

/// Claims the right to run `call`, once its client may have one more running: a claim is a write to the state, which others
/// have to wait for.
async fn claim(ledger: &Ledger, share: &Share, plugin: &Plugin, call: &Arc<Call>) -> Claimed<Reserved> {
    let reserved = match share.reserve(plugin, call.deadline).await {
        Ok(reserved) => reserved,
        Err(error) => return Claimed::Refused(error),
    };
    let asked = Asked {
        client: &call.caller.name_shared(),
        key: call.request.idempotency_key().unwrap_or_default(),
        request: &call.request,
        time_left: call.deadline.saturating_duration_since(Instant::now()),
    };
    let begun = Arc::clone(call);
    ledger.claim(asked, reserved, move || begun.outcome_if_stopped() == Outcome::Unknown).await
}
