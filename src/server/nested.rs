//! A command that a plugin runs for its client: the way of a request once more, from permission on.

use std::sync::Arc;
use std::time::Instant;

use super::{Service, refusal};
use crate::authz;
use crate::plugin::{self, Answer, Call, Commands};
use crate::route::Target;
use crate::telemetry::CommandEvent;
use crate::wire::{Code, CommandError, Request};

impl Commands for Service {
    fn run<'a>(&'a self, parent: &'a Arc<Call>, plugin: &'a str, request: Request) -> Answer<'a> {
        Box::pin(async move {
            let (began, command) = (Instant::now(), Arc::from(request.command()));
            let arguments = self.log.arguments(&request);
            let answer = run(self, parent, request).await;
            self.log.recorder(parent.caller.name_shared()).record(&CommandEvent {
                id: parent.id,
                command: &command,
                via: Some(plugin),
                began,
                result: answer.as_ref().map(Vec::len),
                arguments: arguments.as_deref(),
            });
            answer
        })
    }
}

async fn run(service: &Service, parent: &Call, request: Request) -> Result<Vec<u8>, CommandError> {
    if request.body().len() > service.limits.body_bytes {
        let words = format!("The body is longer than {} bytes", service.limits.body_bytes);
        return Err(CommandError::not_run(Code::TooLarge, words));
    }
    let permit = authz::permit(&parent.caller, request, &service.policy)
        .map_err(|denied| refusal::denied(denied, &service.routes).error)?;
    match service.routes.route(permit) {
        Err(unrouted) => Err(refusal::unrouted(unrouted).error),
        // A grant can't name one, so this is for a client's own connection only.
        Ok(Target::BuiltIn(_, request)) => Err(refusal::forbidden(request.command())),
        Ok(Target::Plugin(_, plugin, _)) if plugin.is_streaming() => {
            let words = "A command that streams can't be run by a plugin";
            Err(CommandError::not_run(Code::ReplyUnframeable, words))
        }
        Ok(Target::Plugin(_, plugin, request)) => {
            let call = Call::nested(parent, request, plugin.timeout());
            call.check_deadline(tokio::time::Instant::now())?;
            plugin::invoke_nested(Arc::clone(plugin), Arc::new(call)).await
        }
    }
}
