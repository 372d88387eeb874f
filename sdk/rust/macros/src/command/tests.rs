//! What the macro makes of functions, and what it says of those that can't be commands.

use quote::quote;

use super::*;
use crate::plugin::expand;

fn command(function: TokenStream) -> Result<Command> {
    let mut function: ItemFn = syn::parse2(function)?;
    let at = function.attrs.iter().position(|attribute| attribute.path().is_ident("command")).unwrap();
    let mark = function.attrs.remove(at);
    Command::of(&mark, &mut function)
}

#[test]
fn the_usage_is_made_from_the_parameters() {
    let cases = [
        (quote!(fn ping()), "ping"),
        (
            quote!(fn greet(name: String, times: Option<u32>, rest: Vec<String>)),
            "greet NAME [TIMES] [REST]...",
        ),
        (
            quote!(fn kv_set(key: &str, expires_after: core::option::Option<Duration>)),
            "kv-set KEY [EXPIRES-AFTER]",
        ),
        (quote!(fn say(words: &[String])), "say [WORDS]..."),
        (quote!(fn say(words: &[&str])), "say [WORDS]..."),
        (quote!(fn add(first: f64, others: Vec<f64>)), "add FIRST [OTHERS]..."),
        (quote!(fn r#type(r#in: u8, mut _out: u8)), "type IN OUT"),
        (quote!(fn greet(#[config] settings: &Settings, name: &str)), "greet NAME"),
        (quote!(async fn tail(reply: &mut Writer, lines: Option<u32>)), "tail [LINES]"),
    ];
    for (function, usage) in cases {
        let found = command(quote!(#[doc = " does it"] #[command] #function {})).unwrap();
        assert_eq!(found.usage, usage);
        assert_eq!(found.summary, "does it");
    }
}

#[test]
fn options_replace_what_is_made() {
    let found = command(quote! {
        /// does it
        ///
        /// at length
        #[command(idempotent, name = "a.b", usage = "a.b WORD...")]
        fn c(words: Vec<String>) {}
    });
    let found = found.unwrap();
    assert_eq!((found.name.as_str(), found.usage.as_str(), found.idempotent), ("a.b", "a.b WORD...", true));
    assert_eq!(found.summary, "does it");
}

/// Functions that can't be commands, and what is said of each.
const WRONG: &[(&str, &str)] = &[
    ("async fn f() {}", "its first parameter is `reply: &mut Writer`"),
    ("async fn f(name: &str) {}", "its first parameter is `reply: &mut Writer`"),
    ("unsafe fn f() {}", "can't be unsafe"),
    ("extern \"C\" fn f() {}", "plain function"),
    ("fn f<T>(a: T) {}", "can't be generic"),
    ("fn f<'a>(a: &'a str) {}", "leave lifetimes out"),
    ("fn f(&self) {}", "no `self`"),
    ("fn f(a: Option<u8>, b: u8) {}", "`B` must be there, so it can't follow `A`"),
    ("fn f(a: Vec<u8>, b: Vec<u8>) {}", "`A` takes all the rest"),
    ("fn f(a: &[String], b: Option<u8>) {}", "`A` takes all the rest"),
    ("fn f(a: Option<Vec<u8>>) {}", "leave `Option` out"),
    ("fn f(a: &Settings) {}", "by value"),
    ("fn f((a, b): Pair) {}", "needs a name"),
];

#[test]
fn a_wrong_shape_is_refused() {
    for (function, words) in WRONG {
        let tokens: TokenStream = function.parse().unwrap();
        let Err(fault) = command(quote!(#[doc = "does it"] #[command] #tokens)) else {
            panic!("{function} is a command")
        };
        assert!(fault.to_string().contains(words), "{function}: {fault}");
    }
    let fault = command(quote!(
        #[command]
        fn f() {}
    ))
    .err()
    .unwrap();
    assert!(fault.to_string().contains("needs a doc comment"), "{fault}");
}

#[test]
fn an_optional_may_be_followed_by_the_rest() {
    assert!(
        command(quote!(
            #[doc = "a"]
            #[command]
            fn f(a: u8, b: Option<u8>, c: Vec<u8>) {}
        ))
        .is_ok()
    );
}

#[test]
fn wrong_options_are_refused() {
    let cases = [
        (quote!(#[command(once)]), "#[command] knows"),
        (quote!(#[command(name = "")]), "visible ASCII"),
        (quote!(#[command(name = "a b")]), "visible ASCII"),
        (quote!(#[command(name = "@ping")]), "visible ASCII"),
        (quote!(#[command(usage = "g A")]), "begins with the command's name, `f`"),
        (quote!(#[command(usage = "fg A")]), "begins with the command's name, `f`"),
    ];
    for (mark, words) in cases {
        let fault = command(quote!(#[doc = "a"] #mark fn f() {})).err().unwrap();
        assert!(fault.to_string().contains(words), "{mark}: {fault}");
    }
}

#[test]
fn a_module_needs_commands_each_of_its_own_name() {
    let fault = |module| expand(TokenStream::new(), module).unwrap_err();
    assert!(
        fault(quote!(
            mod a {
                fn b() {}
            }
        ))
        .to_string()
        .contains("no command in it")
    );
    assert!(
        fault(quote!(
            mod a;
        ))
        .to_string()
        .contains("content here")
    );
    assert!(
        fault(quote!(
            fn a() {}
        ))
        .to_string()
        .contains("belongs on a module")
    );
    assert!(
        fault(quote!(
            mod a {
                #[command]
                struct B;
            }
        ))
        .to_string()
        .contains("belongs on a function")
    );
    let twice = fault(quote! {
        mod a {
            /// one
            #[command]
            fn b_c() {}
            /// two
            #[command(name = "b-c")]
            fn d() {}
        }
    });
    assert_eq!(twice.to_string(), "there are two commands `b-c`");
    assert!(
        expand(
            quote!(x),
            quote!(
                mod a {}
            )
        )
        .unwrap_err()
        .to_string()
        .contains("no arguments")
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let faults = expand(
        TokenStream::new(),
        quote!(
            mod a {
                #[command]
                fn b() {}
                #[doc = "c"]
                #[command]
                async fn c() {}
            }
        ),
    );
    assert_eq!(faults.unwrap_err().into_iter().count(), 2);
}

/// Text in the source that the fault of `function` points at.
#[test]
fn a_fault_points_at_the_parameter() {
    let text = "#[doc = \"a\"] #[command] fn f(a: Option<u8>, wrong: u8) {}";
    let function: TokenStream = text.parse().unwrap();
    let fault = command(function).err().unwrap();
    assert_eq!(fault.span().source_text().as_deref(), Some("wrong"));
}
