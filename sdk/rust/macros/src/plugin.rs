//! `#[plugin]`: finds the commands of a module and adds the table of them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, Item, ItemMod, Result};

use crate::command::Command;

/// The module with its marks taken out and the table of commands added. All faults are told at once.
pub(crate) fn expand(arguments: TokenStream, module: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[plugin] takes no arguments"));
    }
    let mut module = syn::parse2::<ItemMod>(module).map_err(|error| {
        Error::new(error.span(), "#[plugin] belongs on a module: `#[plugin] mod name { … }`")
    })?;
    let Some((_, items)) = &mut module.content else {
        return Err(Error::new_spanned(
            &module,
            "#[plugin] needs the module's content here: `mod name { … }`",
        ));
    };
    let commands = commands(items)?;
    if commands.is_empty() {
        let missing = "there is no command in it: mark a function with #[command]";
        return Err(Error::new_spanned(&module.ident, missing));
    }
    items.push(syn::parse_quote!(
        #[allow(unused_imports)]
        use super::*;
    ));
    items.push(Item::Verbatim(table(&commands)));
    Ok(quote!(#module))
}

/// The commands among `items`, from which the marks are taken out.
fn commands(items: &mut [Item]) -> Result<Vec<Command>> {
    let mut commands: Vec<Command> = Vec::new();
    let mut faults: Option<Error> = None;
    for item in items {
        let Some(mark) = attributes_of(item).and_then(take_mark) else { continue };
        let command = match item {
            Item::Fn(function) => Command::of(&mark, function),
            _ => Err(Error::new_spanned(&mark, "#[command] belongs on a function")),
        };
        match command.and_then(|command| unique(command, &commands)) {
            Ok(command) => commands.push(command),
            Err(fault) => match &mut faults {
                Some(faults) => faults.combine(fault),
                None => faults = Some(fault),
            },
        }
    }
    faults.map_or(Ok(commands), Err)
}

/// Two functions of one name and different `#[cfg]`s are left to the compiler.
fn unique(command: Command, others: &[Command]) -> Result<Command> {
    match others.iter().find(|other| other.name == command.name && !other.is_conditional()) {
        Some(_) if !command.is_conditional() => {
            Err(Error::new(command.span, format!("there are two commands `{}`", command.name)))
        }
        _ => Ok(command),
    }
}

fn attributes_of(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    match item {
        Item::Fn(item) => Some(&mut item.attrs),
        Item::Struct(item) => Some(&mut item.attrs),
        Item::Enum(item) => Some(&mut item.attrs),
        Item::Const(item) => Some(&mut item.attrs),
        Item::Static(item) => Some(&mut item.attrs),
        Item::Impl(item) => Some(&mut item.attrs),
        Item::Mod(item) => Some(&mut item.attrs),
        _ => None,
    }
}

fn take_mark(attributes: &mut Vec<Attribute>) -> Option<Attribute> {
    let at = attributes.iter().position(|attribute| attribute.path().is_ident("command"))?;
    Some(attributes.remove(at))
}

fn table(commands: &[Command]) -> TokenStream {
    if commands.iter().any(Command::writes) {
        return streaming_table(commands);
    }
    let entries = commands.iter().map(Command::entry);
    quote! {
        /// The commands of this plugin, for `lictor_plugin::testing`.
        #[allow(dead_code)]
        pub const COMMANDS: &[::lictor_plugin::Command] = &[#(#entries),*];

        const _: () = {
            struct LictorPlugin;
            impl ::lictor_plugin::__private::Plugin for LictorPlugin {
                const COMMANDS: &'static [::lictor_plugin::Command] = self::COMMANDS;
            }
            ::lictor_plugin::__export!(LictorPlugin);
        };
    }
}

/// The same, of a plugin of which a command writes its reply in parts: then the host takes all of them to do
/// so.
fn streaming_table(commands: &[Command]) -> TokenStream {
    let entries = commands.iter().map(Command::streaming_entry);
    quote! {
        /// The commands of this plugin, for `lictor_plugin::testing`.
        #[allow(dead_code)]
        pub const COMMANDS: &[::lictor_plugin::streaming::Command] = &[#(#entries),*];

        const _: () = {
            struct LictorPlugin;
            impl ::lictor_plugin::streaming::Plugin for LictorPlugin {
                const COMMANDS: &'static [::lictor_plugin::streaming::Command] = self::COMMANDS;
            }
            ::lictor_plugin::__export_streaming!(LictorPlugin);
        };
    }
}
