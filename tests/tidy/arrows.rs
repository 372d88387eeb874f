//! The graph of files below `src/`: each with those that it knows, and the names by which it does.
//!
//! A file knows another if it names an item of it, in a `use` or by a path. A re-export is followed to the
//! file that defines the item. Tests do not count.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// Pairs of a file and one that it knows, with the paths by which it names items there and the line of each.
pub(crate) type Arrows<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<String, usize>>;

/// A module by its names from the crate's root.
type ModulePath = Vec<String>;

/// The code of a crate: its modules, their imports, and every path in it.
#[derive(Default)]
pub(crate) struct Code {
    /// The file of each module.
    files: BTreeMap<ModulePath, String>,
    /// The paths of imported and re-exported names.
    imports: BTreeMap<(ModulePath, String), Vec<String>>,
    named: Vec<Named>,
    /// The module that is being read.
    module: ModulePath,
}

/// A path in the code of `module`.
struct Named {
    module: ModulePath,
    path: Vec<String>,
    line: usize,
}

impl Code {
    /// Reads files below `src/`, each given by its path and its text.
    pub(crate) fn read(files: impl Iterator<Item = (String, String)>) -> Self {
        let mut code = Self::default();
        for (path, text) in files {
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            code.module = module_of_file(&path);
            code.files.insert(code.module.clone(), path);
            code.visit_file(&file);
        }
        code
    }

    pub(crate) fn arrows(&self) -> Arrows<'_> {
        let mut arrows = Arrows::new();
        for Named { module, path, line } in &self.named {
            let from = self.files[module].as_str();
            let Some(to) = self.file_of(module, path).filter(|to| *to != from) else { continue };
            let names = arrows.entry((from, to)).or_default();
            let import = self.import(module, &path[0]);
            if import.is_none_or(|import| !names.contains_key(&import.join("::"))) {
                names.entry(path.join("::")).or_insert(*line);
            }
        }
        arrows
    }

    /// Returns the file with the item that `path` names in `module`; none if it names a module, an item of
    /// another crate, or one in scope without an import.
    fn file_of(&self, module: &[String], path: &[String]) -> Option<&str> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.file_below(&[], rest),
            "self" => self.file_below(module, rest),
            "super" => {
                let (_, parent) = module.split_last()?;
                match rest.first().is_some_and(|next| next == "super") {
                    true => self.file_of(parent, rest),
                    false => self.file_below(parent, rest),
                }
            }
            _ if self.is_module(module, first) || self.import(module, first).is_some() => {
                self.file_below(module, path)
            }
            _ => None,
        }
    }

    /// Does the same for a path whose first name is of `module` itself.
    fn file_below(&self, module: &[String], path: &[String]) -> Option<&str> {
        let (first, rest) = path.split_first()?;
        if self.is_module(module, first) {
            return self.file_below(&child(module, first), rest);
        }
        if let Some(import) = self.import(module, first) {
            return self.file_of(module, &[import, rest].concat());
        }
        self.files.get(module).map(String::as_str)
    }

    fn is_module(&self, module: &[String], name: &str) -> bool {
        self.files.contains_key(&child(module, name))
    }

    /// Returns the path of an imported name. That of a crate which is imported as a whole leads nowhere.
    fn import(&self, module: &[String], name: &str) -> Option<&[String]> {
        let import = self.imports.get(&(module.to_vec(), name.to_owned()))?;
        (import[0] != name).then_some(import)
    }

    fn note(&mut self, path: &[Ident]) {
        let Some(first) = path.first() else { return };
        let line = first.span().start().line;
        self.named.push(Named { module: self.module.clone(), path: names(path), line });
    }

    /// Notes the paths of two names and more among the arguments of a macro.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 => path.push(name),
                TokenTree::Ident(name) => {
                    self.note_long(&path);
                    path = vec![name];
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            colons = 0;
        }
        self.note_long(&path);
    }

    fn note_long(&mut self, path: &[Ident]) {
        if path.len() > 1 {
            self.note(path);
        }
    }
}

impl<'ast> Visit<'ast> for Code {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let Some((_, items)) = item.content.as_ref().filter(|_| !is_test(&item.attrs)) else { return };
        let inner = child(&self.module, &item.ident.to_string());
        self.files.insert(inner.clone(), self.files[&self.module].clone());
        let outer = std::mem::replace(&mut self.module, inner);
        items.iter().for_each(|item| self.visit_item(item));
        self.module = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !is_test(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    /// A re-export leads on to the item, and is no arrow of this file.
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if is_test(&item.attrs) || item.leading_colon.is_some() {
            return;
        }
        let mut leaves = Vec::new();
        flatten(&item.tree, &[], &mut leaves);
        for (path, name) in leaves {
            if matches!(item.vis, Visibility::Inherited) {
                self.note(&path);
            }
            self.imports.insert((self.module.clone(), name.to_string()), names(&path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.note(&path.segments.iter().map(|segment| segment.ident.clone()).collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        visit::visit_macro(self, called);
        self.note_tokens(called.tokens.clone());
    }
}

/// Lists the paths that a `use` imports, and the name that it gives to each. An import of all names, which
/// counts for the file of their module, is named `_`.
fn flatten(tree: &UseTree, prefix: &[Ident], leaves: &mut Vec<(Vec<Ident>, Ident)>) {
    let below = |name: &Ident| [prefix, std::slice::from_ref(name)].concat();
    match tree {
        UseTree::Path(part) => flatten(&part.tree, &below(&part.ident), leaves),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, leaves)),
        UseTree::Glob(glob) => {
            let all = Ident::new("_", glob.star_token.spans[0]);
            leaves.push((below(&all), all));
        }
        UseTree::Name(part) if part.ident == "self" => {
            leaves.extend(prefix.last().map(|name| (prefix.to_vec(), name.clone())));
        }
        UseTree::Name(part) => leaves.push((below(&part.ident), part.ident.clone())),
        UseTree::Rename(part) if part.ident == "self" => leaves.push((prefix.to_vec(), part.rename.clone())),
        UseTree::Rename(part) => leaves.push((below(&part.ident), part.rename.clone())),
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
    attributes.iter().filter(is_cfg).any(|cfg| cfg.parse_args::<Ident>().is_ok_and(|name| name == "test"))
}

/// Returns the module that the file at `path` is.
fn module_of_file(path: &str) -> ModulePath {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

fn child(module: &[String], name: &str) -> ModulePath {
    [module, &[name.to_owned()]].concat()
}

fn names(path: &[Ident]) -> Vec<String> {
    path.iter().map(Ident::to_string).collect()
}

/// Writes each arrow of `files` as `a.rs:2 x::Y b.rs`.
#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let code = Code::read(files.iter().map(|(path, text)| (format!("src/{path}"), (*text).to_owned())));
    let mut found = Vec::new();
    for ((from, to), names) in code.arrows() {
        let (from, to) = (&from["src/".len()..], &to["src/".len()..]);
        found.extend(names.iter().map(|(name, line)| format!("{from}:{line} {name} {to}")));
    }
    assert_eq!(found, expected);
}

#[test]
fn files_are_known_by_imports_and_by_paths() {
    let x = ("x.rs", "pub struct Thing;");
    check(&[x, ("a.rs", "use crate::x::Thing;\nfn f(_: Thing) {}")], &["a.rs:1 crate::x::Thing x.rs"]);
    check(&[x, ("a.rs", "\nfn f(_: Vec<super::x::Thing>) {}")], &["a.rs:2 super::x::Thing x.rs"]);
    check(&[x, ("a.rs", "use super::x;\nfn f(_: x::Thing) {}")], &["a.rs:2 x::Thing x.rs"]);
    check(&[x, ("a.rs", "fn f() { m!(1, [crate::x::Thing]) }")], &["a.rs:1 crate::x::Thing x.rs"]);
    check(&[x, ("a.rs", "use crate::x::*;")], &["a.rs:1 crate::x::_ x.rs"]);
    check(&[x, ("a.rs", "use crate::x;\npub(in crate::x) struct S;\nuse serde::x::Thing;\nuse bytes;")], &[]);
    let nested = "use crate::{a::{b::Inner, Outer as O}, x::{self}};\nfn f(_: O, _: x::Thing) {}";
    check(
        &[x, ("a/mod.rs", "mod b;\nstruct Outer;"), ("a/b.rs", "struct Inner;"), ("y.rs", nested)],
        &["y.rs:1 crate::a::b::Inner a/b.rs", "y.rs:1 crate::a::Outer a/mod.rs", "y.rs:2 x::Thing x.rs"],
    );
}

#[test]
fn re_exports_are_followed_to_the_item() {
    let exporting = ("a/mod.rs", "mod b;\npub use b::Thing;\npub(super) use self::b as c;");
    let b = ("a/b.rs", "use super::Thing as Same;\npub struct Thing;");
    check(&[exporting, b, ("x.rs", "use crate::a::Thing;")], &["x.rs:1 crate::a::Thing a/b.rs"]);
    check(&[exporting, b, ("x.rs", "use crate::a::c::Thing;")], &["x.rs:1 crate::a::c::Thing a/b.rs"]);
    let using = ("a/mod.rs", "mod b;\npub use b::Thing;\nfn f(_: Thing) {}");
    check(&[using, b], &["a/mod.rs:3 Thing a/b.rs"]);
}

#[test]
fn tests_and_inner_modules_name_nothing_of_other_files() {
    let x = ("x.rs", "pub struct Thing;");
    let tests = "#[cfg(test)]\nmod tests { use crate::x::Thing; }\n#[cfg(test)]\nimpl crate::x::Thing {}";
    check(&[x, ("a.rs", tests)], &[]);
    let inner =
        "mod m { pub struct M; use super::A; use super::super::x::Thing; }\nuse self::m::M;\nstruct A;";
    check(&[x, ("a.rs", inner)], &["a.rs:1 super::super::x::Thing x.rs"]);
}
