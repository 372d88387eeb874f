//! Commands that a plugin runs for its client, permitted and routed like the client's own.
//!
//! Each is a request of its own, under the service in force when it begins, however long ago the command
//! began that runs it. So neither a withdrawn permission nor a removed plugin lives on in a stream.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::futures::Notified;

use super::refusal::Refusal;
use super::service::Service;
use super::shared::Shared;
use super::traces::{UNKNOWN, rpc};
use crate::authz::{self, Grounds};
use crate::plugin::{self, Call, Commands, ReplyFuture};
use crate::route::Target;
use crate::telemetry::traces::Span;
use crate::telemetry::{CommandEvent, Spent};
use crate::text::shown;
use crate::watermark;
use crate::wire::{Code, CommandError, Reply, Request};

impl Commands for Shared {
    fn run<'a>(&'a self, parent: &'a Arc<Call>, plugin: &'a str, request: Request) -> ReplyFuture<'a> {
        Box::pin(async move {
            let (began, service) = (Instant::now(), self.service());
            let logged = request.clone();
            let span = parent.span(UNKNOWN);
            let (call, reply) = run(self, parent, plugin, (request, span.as_ref())).await;
            if let Some(span) = span {
                end(span, &logged, &service, reply.as_ref().err());
            }
            let is_forbidden = matches!(&reply, Err(CommandError { code: Code::Forbidden, .. }));
            let closest = is_forbidden.then(|| service.policy.closest(&parent.caller, &logged)).flatten();
            let recorder = service.log.recorder(parent.caller.name_shared());
            let unspent = Spent::default();
            let event = CommandEvent {
                id: parent.id(),
                request: &logged,
                via: Some(plugin),
                began,
                ended: Instant::now(),
                result: reply.as_ref().map(Vec::len),
                closest: closest.as_deref(),
                spent: call.as_deref().map_or(&unspent, |call| &call.exchange().spent),
            };
            recorder.record(&event);
            if self.watchers.are_there() {
                let connection = self.registry.find(parent.id().connection);
                self.watchers.tell(&recorder, &event, connection.as_deref());
            }
            reply
        })
    }
}

/// Runs commands without a server, under a service that is never swapped.
impl Commands for Service {
    fn run<'a>(&'a self, parent: &'a Arc<Call>, plugin: &'a str, request: Request) -> ReplyFuture<'a> {
        Box::pin(async move {
            let (call, plugin) = begin(self, parent, plugin, (request, None))?;
            plugin::run_nested(plugin, Arc::new(call)).await
        })
    }
}

/// Ends the span of a command, of which `error` is the reply if it failed.
fn end(mut span: Span, request: &Request, service: &Service, error: Option<&CommandError>) {
    let failure = error.map(|error| error.code.as_str());
    let method = if service.routes.has(request.command()) { request.command() } else { UNKNOWN };
    span.rename(method);
    rpc(method, failure).into_iter().for_each(|(name, value)| span.note(name, value));
    failure.into_iter().for_each(|code| span.fail(code));
}

/// Returns the reply, and the call if one began.
async fn run(
    shared: &Shared,
    parent: &Call,
    via: &str,
    (request, span): (Request, Option<&Span>),
) -> (Option<Arc<Call>>, Reply) {
    // Before the service in force is loaded, so that no swap after that goes unnoticed.
    let swapped = pin!(shared.swapped.notified());
    match begin(&shared.service(), parent, via, (request, span)) {
        Ok((call, plugin)) => {
            let call = Arc::new(call);
            let reply = run_permitted(shared, parent, via, &call, plugin, swapped).await;
            (Some(call), reply)
        }
        Err(error) => (None, Err(error)),
    }
}

/// Runs a call as long as it is permitted and granted; `swapped` is notified when it may not be any more.
async fn run_permitted<'s>(
    shared: &'s Shared,
    parent: &Call,
    via: &str,
    call: &Arc<Call>,
    plugin: Arc<plugin::Plugin>,
    mut swapped: Pin<&mut Notified<'s>>,
) -> Reply {
    let mut running = pin!(plugin::run_nested(plugin, Arc::clone(call)));
    loop {
        tokio::select! {
            biased;
            reply = &mut running => return reply,
            () = &mut swapped => {}
        }
        swapped.set(shared.swapped.notified());
        let service = shared.service();
        let request = call.request();
        let is_permitted = service.policy.lets_run(&call.caller, request, SystemTime::now());
        if !is_permitted || !is_granted(&service, parent, via, request) {
            return Err(CommandError {
                code: Code::Cancelled,
                outcome: call.outcome_if_stopped(),
                message: "The permission was withdrawn".into(),
            });
        }
    }
}

/// Permits and routes `request` of the plugin `via`, with the span of it; returns its call, and the plugin
/// that runs it.
fn begin(
    service: &Service,
    parent: &Call,
    via: &str,
    (request, span): (Request, Option<&Span>),
) -> Result<(Call, Arc<plugin::Plugin>), CommandError> {
    // Its connection checks this too, at its next pass.
    if let Some(Err(_)) = service.roster.check_without_chain(&parent.caller, SystemTime::now()) {
        return Err(CommandError::not_run(Code::Forbidden, "The client is not admitted any more"));
    }
    if request.body().len() > service.limits.body_bytes {
        let words = format!("The body is longer than {} bytes", service.limits.body_bytes);
        return Err(CommandError::not_run(Code::TooLarge, words));
    }
    if !is_granted(service, parent, via, &request) {
        let words = format!("The plugin {via} may not run {}", shown(request.command(), 64));
        return Err(CommandError::not_run(Code::Forbidden, words));
    }
    let refused = |refusal: Refusal| refusal.error(&request);
    let Some(permit) = authz::permit(&parent.caller, &request, &service.policy, SystemTime::now) else {
        return Err(refused(Refusal::denied(&request, &service.routes)));
    };
    let plugin = match service.routes.route(&permit) {
        None => return Err(refused(Refusal::Unknown)),
        // A grant can't name one, so this is for a client's own connection only.
        Some(Target::BuiltIn(_)) => return Err(refused(Refusal::Forbidden)),
        Some(Target::Plugin(plugin)) if plugin.is_streaming() => {
            let words = "A command that streams can't be run by a plugin";
            return Err(CommandError::not_run(Code::ReplyUnframeable, words));
        }
        Some(Target::Plugin(_)) if watermark::is_passed() => return Err(refused(Refusal::MemoryIsShort)),
        Some(Target::Plugin(plugin)) => plugin,
    };
    let grounds = permit.grounds();
    let call = Call::nested(parent, request, plugin.timeout(), span);
    call.check_deadline(tokio::time::Instant::now())?;
    if grounds == Grounds::Reported {
        let recorder = service.log.recorder(parent.caller.name_shared());
        let closest = || service.policy.closest(&parent.caller, call.request());
        recorder.report(parent.id().connection, call.request(), Some(via), closest);
    }
    Ok((call, Arc::clone(plugin)))
}

/// Returns true if the plugin `via`, in which `parent` runs, is still served and granted `request`. Its
/// instance only knows the grants with which it began.
fn is_granted(service: &Service, parent: &Call, via: &str, request: &Request) -> bool {
    let is_granted = |plugin: &Arc<plugin::Plugin>| plugin.name() == via && plugin.may_run(request);
    service.routes.goes_to(parent.request().command(), is_granted)
}
