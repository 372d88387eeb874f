//! `#[derive(Config)]`: each field of a struct is read from a key of the plugin's config.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, LitStr, Result};

use crate::parameter::optional;

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let named = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => {
                return Err(Error::new_spanned(
                    &item.ident,
                    "#[derive(Config)] needs fields with names: they are the keys",
                ));
            }
        },
        _ => return Err(Error::new_spanned(&item.ident, "#[derive(Config)] is for a struct")),
    };
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "#[derive(Config)] is for a struct without parameters",
        ));
    }
    let fields = named.iter().map(field).collect::<Result<Vec<_>>>()?;
    let name = &item.ident;
    Ok(quote! {
        impl ::lictor_plugin::config::Config for #name {
            fn load() -> ::std::result::Result<Self, ::lictor_plugin::Failure> {
                ::std::result::Result::Ok(Self { #(#fields),* })
            }
        }

        impl #name {
            /// Reads it from the plugin's config. Fails where a key is missing or has a wrong form, and says
            /// which.
            #[allow(dead_code)]
            pub fn load() -> ::std::result::Result<Self, ::lictor_plugin::Failure> {
                <Self as ::lictor_plugin::config::Config>::load()
            }
        }
    })
}

enum Missing {
    Fails,
    Default,
    Value(Box<Expr>),
}

fn field(field: &Field) -> Result<TokenStream> {
    let Some(name) = &field.ident else { return Err(Error::new_spanned(field, "the field needs a name")) };
    let (mut key, mut missing) = (name.unraw().to_string(), Missing::Fails);
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                key = meta.value()?.parse::<LitStr>()?.value();
            } else if meta.path.is_ident("default") {
                missing = if meta.input.peek(syn::Token![=]) {
                    Missing::Value(Box::new(meta.value()?.parse()?))
                } else {
                    Missing::Default
                };
            } else {
                return Err(meta.error("#[config] knows `name = \"…\"`, `default` and `default = …`"));
            }
            Ok(())
        })?;
    }
    let written = &field.ty;
    let span = written.span();
    if let Some(value) = optional(written) {
        return match missing {
            Missing::Fails => {
                Ok(quote_spanned!(span=> #name: ::lictor_plugin::config::optional::<#value>(#key)?))
            }
            _ => Err(Error::new(
                span,
                "an `Option` is `None` where the key is missing; leave the default out, or `Option`",
            )),
        };
    }
    let optional = quote_spanned!(span=> ::lictor_plugin::config::optional::<#written>(#key)?);
    Ok(match missing {
        Missing::Fails => quote_spanned!(span=> #name: ::lictor_plugin::config::required::<#written>(#key)?),
        Missing::Default => quote!(#name: #optional.unwrap_or_default()),
        Missing::Value(value) => {
            // A text is read as if it stood in the config: `"10s"` of a `Duration`. A number must find its
            // type by itself.
            let is_text = matches!(&*value, Expr::Lit(literal) if matches!(literal.lit, syn::Lit::Str(_)));
            let value = match is_text {
                true => quote_spanned!(span=> ::lictor_plugin::config::default_of::<#written>(#key, #value)?),
                false => quote!(#value),
            };
            quote!(#name: match #optional {
                ::std::option::Option::Some(value) => value,
                ::std::option::Option::None => #value,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(item: TokenStream) -> String {
        expand(item).unwrap_err().to_string()
    }

    #[test]
    fn fields_are_keys() {
        let code = expand(quote! {
            struct Settings {
                greeting: String,
                #[config(default = 3, name = "re-tries")]
                retries: u32,
                url: Option<String>,
            }
        });
        let code = code.unwrap().to_string();
        assert!(code.contains(r#"required :: < String > ("greeting")"#), "{code}");
        assert!(code.contains(r#"optional :: < u32 > ("re-tries")"#), "{code}");
        assert!(code.contains(r#"optional :: < String > ("url")"#), "{code}");
    }

    #[test]
    fn other_shapes_are_refused() {
        assert!(
            fault(quote!(
                enum A {
                    B,
                }
            ))
            .contains("is for a struct")
        );
        assert!(
            fault(quote!(
                struct A(u32);
            ))
            .contains("fields with names")
        );
        assert!(
            fault(quote!(
                struct A<T> {
                    b: T,
                }
            ))
            .contains("without parameters")
        );
        assert!(
            fault(quote!(
                struct A {
                    #[config(key = "b")]
                    b: u8,
                }
            ))
            .contains("#[config] knows")
        );
        assert!(
            fault(quote!(
                struct A {
                    #[config(default)]
                    b: Option<u8>,
                }
            ))
            .contains("leave the default out")
        );
    }
}
