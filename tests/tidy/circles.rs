//! Circles of files: groups in `src/` in which each file reaches each other one by naming its items.
//!
//! A `mod.rs` that only declares and re-exports is in none, as a re-export is followed to its item.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use petgraph::algo::{astar, tarjan_scc};
use petgraph::graphmap::DiGraphMap;

use super::arrows::{Arrows, Code};
use super::{is_of_tests, none, rust_files, text};

/// Most ways round one circle that a fault shows.
const MAX_TOLD_WAYS: usize = 12;

#[test]
fn files_know_one_another_in_no_circle() {
    let is_of_library =
        |path: &String| path.starts_with("src/") && path != "src/main.rs" && !is_of_tests(path);
    let files = rust_files().into_iter().filter(is_of_library);
    let code = Code::read(files.map(|path| (path.clone(), text(&path))));
    let arrows = code.arrows();
    none(&faults(&arrows), arrows.len());
}

/// Describes the circles that `arrows` make, the largest first.
fn faults(arrows: &Arrows<'_>) -> Vec<String> {
    let graph: DiGraphMap<&str, ()> = arrows.keys().copied().collect();
    let mut circles = tarjan_scc(&graph);
    circles.retain(|files| files.len() > 1);
    circles.sort_by_key(|files| Reverse(files.len()));
    circles.iter_mut().for_each(|files| files.sort_unstable());
    circles.iter().map(|files| describe(&graph, files, arrows)).collect()
}

/// Lists the files of a circle and its ways round, shortest first, each with the lines that make its arrows.
fn describe(graph: &DiGraphMap<&str, ()>, files: &[&str], arrows: &Arrows<'_>) -> String {
    let ways = ways_round(graph, files);
    let mut told = format!(
        "{} files know one another in a circle ({}). Cut an arrow of each way round:",
        files.len(),
        files.join(", ")
    );
    for way in ways.iter().take(MAX_TOLD_WAYS) {
        told += &format!("\n    {} -> {}", way.join(" -> "), way[0]);
        let ends = way.iter().skip(1).chain(way.first());
        for (from, to) in way.iter().zip(ends) {
            let names = arrows[&(*from, *to)].iter();
            told.extend(names.map(|(name, line)| format!("\n      {from}:{line} names `{name}`, of {to}")));
        }
    }
    match ways.len().saturating_sub(MAX_TOLD_WAYS) {
        0 => told,
        more => told + &format!("\n    and {more} ways that are no shorter"),
    }
}

/// Returns the shortest way round through each arrow of a circle, shortest first.
fn ways_round<'a>(graph: &DiGraphMap<&'a str, ()>, files: &[&'a str]) -> Vec<Vec<&'a str>> {
    let is_inside = |file: &str| files.contains(&file);
    let mut ways = BTreeSet::new();
    for (from, to, ()) in graph.all_edges().filter(|(from, to, ())| is_inside(from) && is_inside(to)) {
        let Some((_, mut way)) = astar(graph, to, |file| file == from, |_| 1, |_| 0) else { continue };
        let first = (0..way.len()).min_by_key(|at| way[*at]).unwrap_or_default();
        way.rotate_left(first);
        ways.insert((way.len(), way));
    }
    ways.into_iter().map(|(_, way)| way).collect()
}

#[test]
fn a_circle_is_a_fault_with_all_its_ways_round() {
    let files = [
        ("a/mod.rs", "mod x; mod y; mod z; pub use x::X;"),
        ("a/x.rs", "use super::y::Y;\nuse super::z::Z;\npub struct X;"),
        ("a/y.rs", "use super::X;\npub struct Y;"),
        ("a/z.rs", "use super::y::Y;\npub struct Z;"),
        ("b.rs", "use crate::a::X;"),
    ];
    let code = Code::read(files.map(|(path, text)| (format!("src/{path}"), text.to_owned())).into_iter());
    let arrows = code.arrows();
    let found = faults(&arrows);
    let expected =
        "3 files know one another in a circle (src/a/x.rs, src/a/y.rs, src/a/z.rs). Cut an arrow of \
                    each way round:
    src/a/x.rs -> src/a/y.rs -> src/a/x.rs
      src/a/x.rs:1 names `super::y::Y`, of src/a/y.rs
      src/a/y.rs:1 names `super::X`, of src/a/x.rs
    src/a/x.rs -> src/a/z.rs -> src/a/y.rs -> src/a/x.rs
      src/a/x.rs:2 names `super::z::Z`, of src/a/z.rs
      src/a/z.rs:1 names `super::y::Y`, of src/a/y.rs
      src/a/y.rs:1 names `super::X`, of src/a/x.rs";
    assert_eq!(found, [expected]);
}
