//! `lictor:plugin/call`: other commands of this server, run for the client whose request is being handled.
//! Granted by `commands = ["PATTERN"]`.
//!
//! The grant narrows and never widens: a command runs only if the grant names it *and* the client itself may
//! run it. Permissions are not known here; [`Commands`](crate::plugin::Commands) carries the request through
//! permission and routing as if the client had sent it.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use self::bindings::lictor::plugin::call;
use super::context::HostState;
use super::grants::CommandGate;
use super::interface::{Grant, Interface};
use super::ungranted::Ungranted;
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::call::MAX_DEPTH;
use crate::text::shown;
use crate::wire::{Code, CommandError, Request};

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "package lictor:host; world call { import lictor:plugin/call@0.1.0; }",
        imports: { default: async | trappable },
        with: { "lictor:plugin/types": crate::plugin::bindings::lictor::plugin::types },
    });
}

pub(super) const INTERFACE: Interface = Interface {
    names: &["lictor:plugin/call"],
    version: (0, 1),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants]\ncommands = [\"COMMAND\"]",
        is_in: |grants| grants.commands.is_some(),
    }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    call::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

impl call::Host for HostState {
    async fn command(
        &mut self,
        args: Vec<String>,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        self.volume.operation(args.iter().map(String::len).sum::<usize>() + body.len())?;
        let answer = match self.permitted(&args, body) {
            Ok((parent, request)) => match parent.commands() {
                Some(commands) => commands.run(&parent, self.log.plugin(), request).await,
                None => {
                    Err(CommandError::not_run(Code::Unavailable, "There is no request to run a command for"))
                }
            },
            Err(error) => Err(error),
        };
        if let Ok(reply) = &answer {
            self.volume.carry(reply.len())?;
        }
        Ok(answer.map_err(|error| Failure {
            code: error.code.as_str().to_owned(),
            message: error.message.into_owned(),
        }))
    }
}

impl HostState {
    /// Returns the calling request and the one to run, if the grant and the depth allow it.
    fn permitted(
        &self,
        args: &[String],
        body: Vec<u8>,
    ) -> Result<(Arc<crate::plugin::Call>, Request), CommandError> {
        let refuse = |code, words: String| Err(CommandError::not_run(code, words));
        let Some(parent) = &self.call else {
            return refuse(Code::Unavailable, "There is no request to run a command for".into());
        };
        let command = args.first().map_or("", String::as_str);
        let request = Request::composed(args, body.into());
        // One that can't be composed is told so if it names any command.
        let allows =
            |gate: &CommandGate| request.as_ref().map_or(!command.is_empty(), |request| (gate.0)(request));
        let is_granted = self.granted.grants.commands.as_ref().is_some_and(allows);
        if !is_granted {
            let ungranted =
                Ungranted { kind: "the command", name: command, key: "commands", verb: "", option: None };
            self.log.not_granted(self.label().as_ref(), ungranted);
            let words = format!("The plugin {} may not run {}", self.log.plugin(), shown(command, 64));
            return refuse(Code::Forbidden, words);
        }
        if parent.depth() >= MAX_DEPTH {
            return refuse(Code::Denied, format!("Commands may call commands to a depth of {MAX_DEPTH}"));
        }
        match request {
            Ok(request) => Ok((Arc::clone(parent), request)),
            Err(why) => refuse(Code::BadArguments, why.to_owned()),
        }
    }
}
