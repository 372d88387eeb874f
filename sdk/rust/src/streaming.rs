//! Commands that write their replies in parts: for output that lasts long, or is larger than the host
//! buffers.
//!
//! ```
//! use lictor_plugin::prelude::*;
//!
//! #[plugin]
//! mod count {
//!     /// counts
//!     #[command]
//!     async fn count(reply: &mut Writer, to: u32) -> Result<(), Failure> {
//!         for number in 1..=to {
//!             reply.write(format!("{number}\n")).await?;
//!         }
//!         Ok(())
//!     }
//! }
//! # fn main() {
//! #     let (written, ended) = lictor_plugin::testing::stream(count::COMMANDS, &["count", "2"]);
//! #     assert_eq!((written, ended), (b"1\n2\n".to_vec(), Ok(())));
//! # }
//! ```
//!
//! A write waits while the client does not read. When the client disconnects or cancels, the instance is
//! dropped at that point: no later code runs. A failure ends the reply, even after parts of it were written.

use std::future::Future;
use std::pin::Pin;

use wit_bindgen::rt::async_support::{StreamReader, StreamWriter, spawn_local};

use self::bindings::exports::lictor::plugin::streaming_commands::Guest;
use self::bindings::lictor::plugin::reply;
use crate::bindings::exports::lictor::plugin::commands::{CommandInfo, Failure as WireFailure};
use crate::{Arguments, Failure, dispatch, output};

/// Output of wit-bindgen for the world of plugins that stream; types shared with other plugins are in
/// [`crate::bindings`].
pub mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all)]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "lictor:plugin/streaming-plugin@0.1.0",
        with: {
            "lictor:plugin/types@0.1.0": crate::bindings::lictor::plugin::types,
            "lictor:plugin/request@0.1.0": crate::bindings::lictor::plugin::request,
            "lictor:plugin/output@0.1.0": crate::bindings::lictor::plugin::output,
        },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_streaming",
        default_bindings_module: "lictor_plugin::streaming::bindings",
    });
}

/// The destination of a command's reply.
#[derive(Debug)]
pub struct Writer(End);

#[derive(Debug)]
enum End {
    Host(StreamWriter<u8>),
    Test(Vec<u8>),
}

impl Writer {
    /// Sends the next part of the reply, and waits until the host has taken it. Parts may be joined or split
    /// on the way.
    ///
    /// # Errors
    ///
    /// `unavailable`, if the host takes no more: nobody is left to receive it.
    pub async fn write(&mut self, part: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let part = part.into();
        match &mut self.0 {
            _ if part.is_empty() => Ok(()),
            End::Test(whole) => {
                whole.extend(part);
                crate::testing::renew();
                Ok(())
            }
            End::Host(stream) => {
                // Lines printed before a part are logged before it, however long the part waits.
                output::flush();
                match stream.write_all(part).await.is_empty() {
                    true => Ok(()),
                    false => Err(Failure::unavailable("nobody reads the reply any more")),
                }
            }
        }
    }
}

/// A running command.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// A command, as the macro `plugin` describes it.
#[derive(Debug)]
pub struct Command {
    /// Name: the first argument, which selects the command.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// Usage line: `count TO`.
    pub usage: &'static str,
    /// Running the command twice has the same effect as running it once.
    pub idempotent: bool,
    /// Reads the arguments and calls the author's function.
    pub run: for<'a> fn(Arguments<'a>, &'a mut Writer) -> Running<'a>,
}

/// A plugin: its commands. Implemented by the macro `plugin`.
#[doc(hidden)]
pub trait Plugin {
    const COMMANDS: &'static [Command];
}

impl<P: Plugin> Guest for P {
    fn describe() -> Vec<CommandInfo> {
        dispatch::before_any_author_code();
        P::COMMANDS.iter().map(info).collect()
    }

    async fn handle(arguments: Vec<String>) -> Result<StreamReader<u8>, WireFailure> {
        dispatch::before_any_author_code();
        let (stream, reply) = bindings::wit_stream::new();
        spawn_local(async move {
            let (mut arguments, mut writer) = (arguments, Writer(End::Host(stream)));
            let ended = run(P::COMMANDS, &mut arguments, &mut writer).await;
            output::flush();
            if let Err(failure) = ended {
                reply::fail(&failure.into());
            }
        });
        Ok(reply)
    }
}

fn info(command: &Command) -> CommandInfo {
    CommandInfo {
        name: command.name.into(),
        summary: command.summary.into(),
        usage: command.usage.into(),
        idempotent: command.idempotent,
    }
}

async fn run(
    commands: &'static [Command],
    arguments: &mut [String],
    writer: &mut Writer,
) -> Result<(), Failure> {
    let (name, arguments) = dispatch::split(arguments);
    let command = dispatch::find(commands, name, |command| command.name)?;
    (command.run)(Arguments::new(arguments, command.usage), writer).await.map_err(Failure::told)
}

/// Runs a command in a test, where nothing waits.
pub(crate) fn collect(commands: &'static [Command], arguments: &[&str]) -> (Vec<u8>, Result<(), Failure>) {
    let mut arguments: Vec<String> = arguments.iter().map(|argument| String::from(*argument)).collect();
    let mut writer = Writer(End::Test(Vec::new()));
    let ended = {
        let mut running = Box::pin(run(commands, &mut arguments, &mut writer));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match crate::testing::one_call(|| running.as_mut().poll(&mut context)) {
            Ok(std::task::Poll::Ready(ended)) => ended,
            Ok(std::task::Poll::Pending) => {
                panic!("the command waits for something that is not there in a test")
            }
            Err(stopped) => Err(stopped),
        }
    };
    match writer.0 {
        End::Test(whole) => (whole, ended),
        End::Host(_) => (Vec::new(), ended),
    }
}
