//! The table of a run.

use std::fmt::Write;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::gauge::{LOOKED_AT, Sample};
use crate::{ROLES, Soak};

/// Tabulates the resources used before, during and after the run, and the work done by each role.
pub fn table(soak: &Soak, time: Duration, before: &Sample, during: &[Sample], after: &Sample) -> String {
    let mut table = String::from(
        "| resource | at rest, after the warm-up | maximum under load | at rest, at the end | margin |\n\
         |---|---|---|---|---|\n",
    );
    for (place, (name, unit, margin)) in LOOKED_AT.iter().enumerate() {
        let most = during.iter().map(|sample| sample.figures[place]).max().unwrap_or_default();
        let [before, most, after, margin] = [before.figures[place], most, after.figures[place], *margin]
            .map(|figure| if unit.is_empty() { figure.to_string() } else { format!("{:.1} MB", mb(figure)) });
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {before} | {most} | {after} | {margin} |");
    }
    let rounds = ROLES.iter().zip(&soak.rounds).map(|((name, count, _), rounds)| {
        format!("| {name} | {count} | {} |\n", grouped(rounds.load(Ordering::Relaxed)))
    });
    let rounds: String = rounds.collect();
    let (answers, counted) = (soak.tally.answers.load(Ordering::Relaxed), soak.tally.acknowledged());
    let minutes = (time.as_secs_f64() / 60.0).round();
    format!(
        "{table}\n| clients that | number | rounds |\n|---|---|---|\n{rounds}\nIn {minutes} minutes, including the warm-up, \
         {} replies were checked, and all of them were correct. {} increments were acknowledged; all of them were present \
         at the end, and after `kill -9` and a restart.\n",
        grouped(answers),
        grouped(counted),
    )
}

/// Prints the table, and writes it to the file that `cargo xtask soak` names.
#[expect(clippy::print_stdout, reason = "the test runner shows it where it is asked to")]
pub fn hand_over(table: &str) {
    println!("{table}");
    if let Some(path) = std::env::var_os("LICTOR_SOAK_TABLE") {
        fs::write(path, table).expect("the table is written");
    }
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

/// Formats 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}
