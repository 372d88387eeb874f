//! One function marked `#[command]`: its name, help and usage, and the code that reads its arguments and
//! calls it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, FnArg, ItemFn, Lit, LitBool, LitStr, Meta, Result, ReturnType, Safety, Signature,
    Type,
};

use crate::parameter::{Kind, Parameter};

pub(crate) struct Command {
    pub(crate) name: String,
    /// Where a fault with the name is shown.
    pub(crate) span: Span,
    summary: String,
    usage: String,
    idempotent: bool,
    /// `#[cfg]`s of the function hold for its place in the table as well.
    conditions: Vec<Attribute>,
    function: syn::Ident,
    reply: Span,
    /// Whether it is an `async fn`, whose first parameter is where its reply goes.
    writes: bool,
    parameters: Vec<Parameter>,
}

/// What stands in the parentheses of `#[command(…)]`.
#[derive(Default)]
struct Options {
    idempotent: bool,
    name: Option<LitStr>,
    usage: Option<LitStr>,
}

impl Command {
    /// Reads a function, and takes the marks out of its parameters.
    pub(crate) fn of(mark: &Attribute, function: &mut ItemFn) -> Result<Self> {
        let options = Options::of(mark)?;
        let signature = &mut function.sig;
        refuse_shape(signature)?;
        let writes = signature.asyncness.is_some();
        if writes {
            want_writer(signature)?;
        }
        let arguments = signature.inputs.iter_mut().skip(usize::from(writes));
        let parameters = arguments.map(Parameter::of).collect::<Result<Vec<_>>>()?;
        refuse_order(&parameters)?;
        let identifier = signature.ident.unraw().to_string();
        let (name, span) = match &options.name {
            Some(name) => (checked_name(name)?, name.span()),
            None => (identifier.replace('_', "-"), signature.ident.span()),
        };
        let usage = match &options.usage {
            Some(usage) => checked_usage(usage, &name)?,
            None => usage(&name, &parameters),
        };
        let Some(summary) = summary(&function.attrs) else {
            let missing = "a command needs a doc comment: its first line is what `@commands` shows";
            return Err(Error::new(signature.ident.span(), missing));
        };
        let reply = match &signature.output {
            ReturnType::Default => signature.ident.span(),
            ReturnType::Type(_, output) => output.span(),
        };
        let conditions = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
        Ok(Self {
            name,
            span,
            summary,
            usage,
            idempotent: options.idempotent,
            conditions: conditions.cloned().collect(),
            function: signature.ident.clone(),
            reply,
            writes,
            parameters,
        })
    }

    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    pub(crate) fn is_conditional(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Its place in the table, where no command writes its reply in parts.
    pub(crate) fn entry(&self) -> TokenStream {
        let (described, reads, values) = (self.description(), self.reads(), self.values());
        let (conditions, own_name) = (&self.conditions, self.own_name());
        let call = quote_spanned!(self.reply=> ::lictor_plugin::IntoReply::into_reply(value));
        quote! {
            #(#conditions)*
            ::lictor_plugin::Command {
                #described
                run: {
                    #own_name
                    #[allow(unused_mut, unused_variables)]
                    fn lictor_run(
                        mut arguments: ::lictor_plugin::Arguments<'_>,
                    ) -> ::std::result::Result<::std::vec::Vec<u8>, ::lictor_plugin::Failure> {
                        #reads
                        #[allow(clippy::let_unit_value)]
                        let value = lictor_command(#(#values),*);
                        #call
                    }
                    lictor_run
                },
            }
        }
    }

    /// The same, where one does. What a function returns comes last.
    pub(crate) fn streaming_entry(&self) -> TokenStream {
        let (described, reads, values) = (self.description(), self.reads(), self.values());
        let (conditions, own_name) = (&self.conditions, self.own_name());
        let value = match self.writes {
            true => quote!(lictor_command(&mut *writer, #(#values),*).await),
            false => quote!(lictor_command(#(#values),*)),
        };
        let call = quote_spanned!(self.reply=> ::lictor_plugin::IntoReply::into_reply(value));
        quote! {
            #(#conditions)*
            ::lictor_plugin::streaming::Command {
                #described
                run: {
                    #own_name
                    #[allow(unused_mut, unused_variables)]
                    fn lictor_run<'a>(
                        mut arguments: ::lictor_plugin::Arguments<'a>,
                        writer: &'a mut ::lictor_plugin::streaming::Writer,
                    ) -> ::lictor_plugin::streaming::Running<'a> {
                        ::std::boxed::Box::pin(async move {
                            #reads
                            #[allow(clippy::let_unit_value)]
                            let value = #value;
                            let rest = #call?;
                            writer.write(rest).await
                        })
                    }
                    lictor_run
                },
            }
        }
    }

    /// A name of our own for the function: its own could be that of what the generated function needs.
    fn own_name(&self) -> TokenStream {
        let function = &self.function;
        quote!(use self::#function as lictor_command;)
    }

    fn description(&self) -> TokenStream {
        let Self { name, summary, usage, idempotent, .. } = self;
        quote!(name: #name, summary: #summary, usage: #usage, idempotent: #idempotent,)
    }

    /// The statements that read its arguments.
    fn reads(&self) -> TokenStream {
        let reads = self.parameters.iter().enumerate().map(|(at, parameter)| parameter.read(&local(at)));
        // Wrong arguments are told before the config is read: they are the more likely fault.
        let of_config = |(_, parameter): &(_, &Parameter)| parameter.is_config();
        let (settings, arguments): (Vec<_>, Vec<_>) = reads.zip(&self.parameters).partition(of_config);
        let reads = arguments.iter().chain(&settings).map(|(read, _)| read);
        let count = self.count_check();
        quote!(#count #(#reads)*)
    }

    fn values(&self) -> Vec<TokenStream> {
        self.parameters.iter().enumerate().map(|(at, parameter)| parameter.pass(&local(at))).collect()
    }

    fn count_check(&self) -> Option<TokenStream> {
        let takes_rest = self.parameters.iter().any(|parameter| parameter.kind.takes_rest());
        let most = self.parameters.iter().filter(|parameter| !parameter.is_config()).count();
        (!takes_rest).then(|| quote!(arguments.at_most(#most)?;))
    }
}

/// The parameters' own names could be those of what the generated function needs.
fn local(at: usize) -> syn::Ident {
    format_ident!("argument_{at}")
}

impl Options {
    fn of(mark: &Attribute) -> Result<Self> {
        let mut options = Self::default();
        if matches!(mark.meta, Meta::Path(_)) {
            return Ok(options);
        }
        mark.parse_nested_meta(|meta| options.set(&meta))?;
        Ok(options)
    }

    fn set(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("idempotent") {
            self.idempotent =
                if meta.input.peek(syn::Token![=]) { meta.value()?.parse::<LitBool>()?.value } else { true };
        } else if meta.path.is_ident("name") {
            self.name = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("usage") {
            self.usage = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error("#[command] knows `idempotent`, `name = \"…\"` and `usage = \"…\"`"));
        }
        Ok(())
    }
}

fn refuse_shape(signature: &Signature) -> Result<()> {
    let fault = |what: &dyn ToTokens, words: &str| Err(Error::new_spanned(what, words));
    if let Safety::Unsafe(word) = &signature.safety {
        return fault(word, "a command can't be unsafe: the host calls it with what a client sent");
    }
    if let Some(abi) = &signature.abi {
        return fault(abi, "a command is a plain function");
    }
    if !signature.generics.params.is_empty() {
        return fault(
            &signature.generics,
            "a command can't be generic; leave lifetimes out, they are not needed",
        );
    }
    match &signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => {
            fault(receiver, "a command has no `self`: it is a function of a module")
        }
        _ => Ok(()),
    }
}

/// An async command is one that writes its reply in parts.
fn want_writer(signature: &Signature) -> Result<()> {
    let is_reference = |input: &FnArg| matches!(input, FnArg::Typed(input) if matches!(&*input.ty, Type::Reference(r) if r.mutability.is_some()));
    match signature.inputs.first() {
        Some(input) if is_reference(input) => Ok(()),
        _ => Err(Error::new_spanned(
            signature,
            "an async command writes its reply in parts: its first parameter is `reply: &mut Writer`",
        )),
    }
}

/// Arguments are told apart by their place alone.
fn refuse_order(parameters: &[Parameter]) -> Result<()> {
    let arguments = parameters.iter().filter(|parameter| !parameter.is_config());
    let (mut optional, mut rest) = (None, None);
    for parameter in arguments {
        let name = &parameter.usage_name;
        if let Some(rest) = rest {
            let words = format!("`{rest}` takes all the rest, so nothing can follow it");
            return Err(Error::new(parameter.span, words));
        }
        match (&parameter.kind, optional) {
            (Kind::Required { .. }, Some(before)) => {
                let words =
                    format!("`{name}` must be there, so it can't follow `{before}`, which may be left out");
                return Err(Error::new(parameter.span, words));
            }
            (Kind::Optional { .. }, _) => optional = Some(name),
            (kind, _) if kind.takes_rest() => rest = Some(name),
            _ => {}
        }
    }
    Ok(())
}

fn checked_name(name: &LitStr) -> Result<String> {
    let text = name.value();
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"');
    if is_word && !text.starts_with('@') {
        return Ok(text);
    }
    Err(Error::new(
        name.span(),
        "a command's name is visible ASCII without spaces and quotes, and does not begin with `@`",
    ))
}

fn checked_usage(usage: &LitStr, name: &str) -> Result<String> {
    let text = usage.value();
    match text.strip_prefix(name) {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => Ok(text),
        _ => Err(Error::new(usage.span(), format!("a usage begins with the command's name, `{name}`"))),
    }
}

fn usage(name: &str, parameters: &[Parameter]) -> String {
    parameters.iter().fold(name.to_owned(), |usage, parameter| match &parameter.kind {
        Kind::Config { .. } => usage,
        Kind::Required { .. } => format!("{usage} {}", parameter.usage_name),
        Kind::Optional { .. } => format!("{usage} [{}]", parameter.usage_name),
        Kind::Rest { .. } | Kind::RestTexts => format!("{usage} [{}]...", parameter.usage_name),
    })
}

/// The first line of a doc comment that is not empty.
fn summary(attributes: &[Attribute]) -> Option<String> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines
        .flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>())
        .find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests;
