//! One parameter of a command: which arguments it takes, and the code that reads them.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericArgument, Ident, Pat, PathArguments, Result, Type};

pub(crate) struct Parameter {
    /// As it stands in the usage: `EXPIRES-AFTER`.
    pub(crate) usage_name: String,
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    /// `#[config] name: T` or `&T`.
    Config { settings: Type, by_reference: bool },
    /// `T`
    Required { value: Type },
    /// `Option<T>`
    Optional { value: Type },
    /// `Vec<T>` or, by reference, `&[T]`.
    Rest { value: Type, by_reference: bool },
    /// `&[String]`: handed on as they came, without an allocation.
    RestTexts,
}

impl Kind {
    pub(crate) fn takes_rest(&self) -> bool {
        matches!(self, Self::Rest { .. } | Self::RestTexts)
    }

    /// Types are told apart by how they are written, as a macro sees no more than that.
    fn of(written: &Type) -> Result<Self> {
        if let Some(value) = argument_of(written, "Option") {
            return match argument_of(value, "Vec") {
                Some(_) => Err(Error::new_spanned(
                    written,
                    "`Vec<T>` is empty where there are no arguments; leave `Option` out",
                )),
                None => Ok(Self::Optional { value: value.clone() }),
            };
        }
        if let Some(value) = argument_of(written, "Vec") {
            return Ok(Self::Rest { value: value.clone(), by_reference: false });
        }
        let Type::Reference(reference) = written else {
            return Ok(Self::Required { value: written.clone() });
        };
        match &*reference.elem {
            Type::Slice(slice) if is_named(&slice.elem, "String") => Ok(Self::RestTexts),
            Type::Slice(slice) => Ok(Self::Rest { value: (*slice.elem).clone(), by_reference: true }),
            elem if is_named(elem, "str") => Ok(Self::Required { value: written.clone() }),
            _ => Err(Error::new_spanned(
                written,
                "take an argument by value, or as `&str`; `&T` is for #[config]",
            )),
        }
    }
}

impl Parameter {
    /// Reads a parameter, and takes its mark out.
    pub(crate) fn of(input: &mut FnArg) -> Result<Self> {
        let input = match input {
            FnArg::Typed(input) => input,
            FnArg::Receiver(receiver) => return Err(Error::new_spanned(receiver, "a command has no `self`")),
        };
        let Pat::Ident(pattern) = &*input.pat else {
            return Err(Error::new_spanned(
                &input.pat,
                "an argument needs a name here: it stands in the usage",
            ));
        };
        let span = pattern.ident.span();
        let before = input.attrs.len();
        input.attrs.retain(|attribute| !attribute.path().is_ident("config"));
        let kind = if input.attrs.len() == before { Kind::of(&input.ty)? } else { config(&input.ty) };
        Ok(Self { usage_name: usage_name(&pattern.ident), span, kind })
    }

    pub(crate) fn is_config(&self) -> bool {
        matches!(self.kind, Kind::Config { .. })
    }

    /// The statement that reads it from `arguments` into the variable `local`.
    pub(crate) fn read(&self, local: &Ident) -> TokenStream {
        let name = &self.usage_name;
        match &self.kind {
            Kind::Config { settings, .. } => {
                let load =
                    quote_spanned!(settings.span()=> <#settings as ::lictor_plugin::config::Config>::load());
                quote!(let #local = #load?;)
            }
            Kind::Required { value } => {
                let read = quote_spanned!(value.span()=> arguments.required::<#value>(#name));
                quote!(let #local = #read?;)
            }
            Kind::Optional { value } => {
                let read = quote_spanned!(value.span()=> arguments.optional::<#value>(#name));
                quote!(let #local = #read?;)
            }
            Kind::Rest { value, .. } => {
                let read = quote_spanned!(value.span()=> arguments.rest::<#value>(#name));
                quote!(let #local = #read?;)
            }
            Kind::RestTexts => quote!(let #local = arguments.texts();),
        }
    }

    /// How the variable is handed to the author's function.
    pub(crate) fn pass(&self, local: &Ident) -> TokenStream {
        match self.kind {
            Kind::Config { by_reference: true, .. } | Kind::Rest { by_reference: true, .. } => {
                quote!(&#local)
            }
            _ => quote!(#local),
        }
    }
}

fn config(written: &Type) -> Kind {
    match written {
        Type::Reference(reference) => {
            Kind::Config { settings: (*reference.elem).clone(), by_reference: true }
        }
        _ => Kind::Config { settings: written.clone(), by_reference: false },
    }
}

fn usage_name(identifier: &Ident) -> String {
    let name = identifier.unraw().to_string();
    name.trim_start_matches('_').to_uppercase().replace('_', "-")
}

/// The `T` of `name<T>`, whatever path leads to it.
fn argument_of<'a>(written: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = written else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(argument)) if arguments.args.len() == 1 => Some(argument),
        _ => None,
    }
}

pub(crate) fn is_named(written: &Type, name: &str) -> bool {
    matches!(written, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}

/// Whether it is written `Option<T>`, and the `T`.
pub(crate) fn optional(written: &Type) -> Option<&Type> {
    argument_of(written, "Option")
}
