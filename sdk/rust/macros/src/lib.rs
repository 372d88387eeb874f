//! The macros of `lictor-plugin`, which re-exports them; authors name that crate alone.
//!
//! Each macro is a pure function from tokens to tokens, so that its errors can be tested without a compiler.

mod command;
mod config;
mod parameter;
mod plugin;

use proc_macro::TokenStream;

/// Makes a plugin of a module: each of its functions marked `#[command]` is a command.
///
/// ```text
/// #[plugin]
/// mod greet {
///     /// greets somebody
///     #[command(idempotent)]
///     fn greet(name: String, times: Option<u32>, others: Vec<String>) -> Result<String, Failure> {
///         Ok(name)
///     }
/// }
/// ```
///
/// The first line of the doc comment says in `@commands` what the command does. Its name is the function's,
/// with `-` for `_`. Its usage is made from the parameters: `greet NAME [TIMES] [OTHERS]...`. A parameter
/// `Option<T>` may be left out and follows those that may not; a last one `Vec<T>`, `&[String]` or `&[&str]`
/// takes all the rest; any other type is one argument. A parameter marked `#[config]` is no argument but the
/// plugin's settings.
///
/// `#[command(…)]` takes `idempotent` (running it twice has the same effect as running it once), `name = "…"`
/// and `usage = "…"`.
///
/// An `async fn` writes its reply in parts: its first parameter is `reply: &mut Writer`, which is no
/// argument, and what it returns comes last. A plugin with one such command is one whose commands all stream,
/// which the crate's feature `streaming` is needed for.
///
/// What stands beside the module can be named in it, as if by `use super::*`. The macro adds a constant
/// `COMMANDS` to it, for tests. A component has one plugin.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, module: TokenStream) -> TokenStream {
    plugin::expand(arguments.into(), module.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Reads a struct from the plugin's config: each field is the value of the key with its name.
///
/// A field must be there unless it is an `Option` or has `#[config(default)]` or `#[config(default = 3)]`.
/// `#[config(name = "…")]` names another key.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(item: TokenStream) -> TokenStream {
    config::expand(item.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}
