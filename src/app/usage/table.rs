//! The rows of the record. Pure: it is told the time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::file::{Pause, Record, Row as RecordedRow};
use super::report::{Line, Unused};
use crate::config::{Entry, TimeSpan};
use crate::usage::{Clock, LastUse};

/// Minutes after which the file is written even if nothing was used: it says until when the server ran.
const ALIVE: u32 = 30;

/// Minutes between two ticks that are a pause. More than [`ALIVE`], which a killed process loses.
const PAUSE: u32 = 2 * ALIVE;

/// The most pauses recorded. The two oldest become one, which takes the time between them for a pause too: an
/// entry is called unused later than it could be, and never too early.
const MAX_PAUSES: usize = 64;

/// The entries that are observed, and their uses.
pub(super) struct Table {
    clock: Clock,
    rows: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Row>>,
    /// The entries in force, in the order of the config.
    entries: Arc<[Entry]>,
    pauses: Vec<Pause>,
    /// The minute of the last record.
    recorded: u32,
    /// True if more than uses has changed since.
    is_changed: bool,
}

struct Row {
    last: Arc<LastUse>,
    /// The beginning of the observation; `None` while the entry is not in force.
    since: Option<u32>,
}

impl Table {
    /// Continues `record` in the minute `now`.
    pub(super) fn of(record: Record, now: u32) -> Self {
        let clock = Clock::default();
        let row = |row: RecordedRow| {
            let last = LastUse::never(&clock);
            last.set(row.last);
            Row { last: Arc::new(last), since: Some(row.since) }
        };
        let rows = record.entries.into_iter().map(|(list, rows)| {
            (list.into(), rows.into_iter().map(|(text, recorded)| (text.into(), row(recorded))).collect())
        });
        let (rows, pauses) = (rows.collect(), record.pauses);
        clock.set(record.alive);
        let mut table = Self { clock, rows, entries: Arc::default(), pauses, recorded: 0, is_changed: true };
        table.forget_after(now);
        table.tick(now);
        table
    }

    /// Returns the row of `entry`, made if there is none.
    pub(super) fn row(&mut self, entry: &Entry) -> Arc<LastUse> {
        let rows = self.rows.entry(Arc::clone(&entry.list)).or_default();
        let clock = &self.clock;
        let new = || Row { last: Arc::new(LastUse::never(clock)), since: None };
        Arc::clone(&rows.entry(Arc::clone(&entry.text)).or_insert_with(new).last)
    }

    /// Observes `entries` from now on, and no others.
    pub(super) fn serve(&mut self, entries: &Arc<[Entry]>) {
        let now = self.clock.minute();
        for entry in entries.iter() {
            self.row(entry);
        }
        let in_force: HashSet<_> = entries.iter().map(Entry::name).collect();
        for (list, rows) in &mut self.rows {
            rows.retain(|text, row| {
                let is_in_force = in_force.contains(&(&**list, &**text));
                match (is_in_force, row.since) {
                    (true, Some(_)) => return true,
                    (true, None) => {
                        row.last.set(None);
                        row.since = Some(now);
                    }
                    (false, _) => row.since = None,
                }
                self.is_changed = true;
                // What holds it may come back into force.
                is_in_force || Arc::strong_count(&row.last) > 1
            });
        }
        self.rows.retain(|_, rows| !rows.is_empty());
        self.entries = Arc::clone(entries);
    }

    /// Sets the clock. After a jump ahead the machine or the server has not run.
    pub(super) fn tick(&mut self, now: u32) {
        let before = self.clock.minute();
        self.clock.set(now);
        if now < before {
            self.forget_after(now);
        }
        if before == 0 || now.saturating_sub(before) <= PAUSE {
            return;
        }
        self.pauses.push(Pause { from: before, to: now });
        self.is_changed = true;
        if self.pauses.len() > MAX_PAUSES {
            let oldest = self.pauses.remove(0);
            self.pauses[0].from = oldest.from;
        }
    }

    /// Takes times after `now` for `now`: they were told by a clock that was ahead.
    fn forget_after(&mut self, now: u32) {
        for row in self.rows.values_mut().flat_map(BTreeMap::values_mut) {
            row.since = row.since.map(|since| since.min(now));
            row.last.set(row.last.minute().map(|last| last.min(now)));
        }
        self.pauses.iter_mut().for_each(|pause| pause.to = pause.to.min(now));
        self.pauses.retain(|pause| pause.from < pause.to);
    }

    /// Returns the record if it is to be written: at most once in a minute, if anything has changed.
    pub(super) fn due(&mut self) -> Option<Record> {
        let (now, recorded) = (self.clock.minute(), self.recorded);
        let mut rows = self.rows.values().flat_map(BTreeMap::values);
        let mut is_used = || rows.any(|row| row.last.minute().is_some_and(|last| last >= recorded));
        let is_due = now != recorded && (self.is_changed || now.abs_diff(recorded) >= ALIVE || is_used());
        is_due.then(|| {
            self.recorded = now;
            self.is_changed = false;
            self.record()
        })
    }

    /// Has the record written again in a minute.
    pub(super) fn not_written(&mut self) {
        self.is_changed = true;
    }

    /// Returns the record.
    pub(super) fn record(&self) -> Record {
        let recorded = |row: &Row| Some(RecordedRow { since: row.since?, last: row.last.minute() });
        let rows = |rows: &BTreeMap<Arc<str>, Row>| -> BTreeMap<_, _> {
            rows.iter().filter_map(|(text, row)| Some((text.to_string(), recorded(row)?))).collect()
        };
        let lists = self.rows.iter().map(|(list, of_list)| (list.to_string(), rows(of_list)));
        let entries = lists.filter(|(_, rows)| !rows.is_empty()).collect();
        Record::new(self.clock.minute(), self.pauses.clone(), entries)
    }

    /// Returns the entries in force that were not used for `period`.
    pub(super) fn unused(&self, period: TimeSpan) -> Unused {
        let now = self.clock.minute();
        let minutes = period.milliseconds().div_ceil(60_000).max(1);
        let mut found = Unused { period, unused: Vec::new(), idle: HashSet::new(), undecided: Vec::new() };
        let mut used = HashSet::new();
        for entry in self.entries.iter().filter(|entry| !entry.is_named) {
            let row = self.rows.get(&entry.list).and_then(|rows| rows.get(&entry.text));
            let Some(Row { last, since: Some(since) }) = row else { continue };
            let (since, last) = (*since, last.minute());
            let line = || Line { entry: entry.clone(), since, last };
            if self.running_minutes(last.unwrap_or(since).max(since)) >= minutes {
                found.idle.extend(entry.owner.clone());
                found.unused.push(line());
                continue;
            }
            used.extend(&entry.owner);
            if last.is_none_or(|last| u64::from(now.saturating_sub(last)) >= minutes) {
                found.undecided.push(line());
            }
        }
        found.idle.retain(|owner| !used.contains(owner));
        found
    }

    /// Returns the minutes from `from` until now in which the server ran.
    fn running_minutes(&self, from: u32) -> u64 {
        let now = self.clock.minute();
        let paused = self.pauses.iter().map(|pause| pause.to.min(now).saturating_sub(pause.from.max(from)));
        u64::from(now.saturating_sub(from)).saturating_sub(paused.map(u64::from).sum())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    const START: u32 = 1_000_000;
    const DAY: u32 = 24 * 60;

    /// A table in which `texts` are observed since [`START`], with their uses.
    fn served(texts: &[&str]) -> (Table, Vec<Arc<LastUse>>) {
        let mut table = Table::of(Record::default(), START);
        let entries = entries(texts);
        let uses = entries.iter().map(|entry| table.row(entry)).collect();
        table.serve(&entries);
        (table, uses)
    }

    fn entries(texts: &[&str]) -> Arc<[Entry]> {
        texts.iter().map(|text| Entry::item("clients.a.commands", text)).collect()
    }

    /// Lets time pass, as a server does.
    fn run(table: &mut Table, minutes: u32) {
        let now = table.clock.minute();
        (now..=now + minutes).step_by(30).for_each(|minute| table.tick(minute));
        table.tick(now + minutes);
    }

    /// Returns the texts that were not used for some days, and those of which that is not known.
    fn told(table: &Table, days: u64) -> [Vec<String>; 2] {
        let period = TimeSpan::try_from(format!("{days}d")).unwrap();
        let Unused { unused, undecided, .. } = table.unused(period);
        [unused, undecided].map(|lines| lines.into_iter().map(|line| line.entry.text.to_string()).collect())
    }

    fn note(uses: &Arc<LastUse>) {
        crate::usage::Used::from(Arc::clone(uses)).note();
    }

    #[test]
    fn unused_is_what_was_observed_for_the_time_and_not_used_in_it() {
        let (mut table, uses) = served(&["never", "early", "late"]);
        run(&mut table, 10 * DAY);
        note(&uses[1]);
        run(&mut table, 25 * DAY);
        note(&uses[2]);
        run(&mut table, 4 * DAY);
        assert_eq!(told(&table, 30), [vec!["never"], vec![]]);
        assert_eq!(told(&table, 29), [vec!["never", "early"], vec![]]);
        assert_eq!(told(&table, 40), [vec![], vec!["never"]], "it is observed for less");
        assert_eq!(told(&table, 4), [vec!["never", "early", "late"], vec![]]);
    }

    #[test]
    fn an_entry_that_is_added_or_comes_back_is_observed_from_then_on() {
        let (mut table, uses) = served(&["old", "removed"]);
        note(&uses[1]);
        run(&mut table, 20 * DAY);
        table.serve(&entries(&["old"]));
        assert_eq!(table.rows["clients.a.commands"].len(), 2, "the old service still holds it");
        run(&mut table, 10 * DAY);
        table.serve(&entries(&["old", "removed", "added"]));
        assert!(Arc::ptr_eq(&table.row(&entries(&["removed"])[0]), &uses[1]), "it is noted in the same row");
        run(&mut table, DAY);
        assert_eq!(told(&table, 30), [vec!["old"], vec!["removed", "added"]]);
        drop(uses);
        table.serve(&entries(&["added"]));
        assert_eq!(table.rows["clients.a.commands"].len(), 1, "nothing holds the others");
        table.serve(&entries(&[]));
        assert!(table.rows.is_empty() && table.record().entries.is_empty());
    }

    #[test]
    fn an_entry_of_a_config_that_never_came_into_force_is_not_observed() {
        let (mut table, _uses) = served(&["old"]);
        let wanted = entries(&["wanted"]);
        let held = table.row(&wanted[0]);
        run(&mut table, 30 * DAY);
        assert_eq!(told(&table, 30), [vec!["old"], vec![]]);
        assert!(!table.record().entries["clients.a.commands"].contains_key("wanted"));
        table.serve(&wanted);
        assert_eq!(told(&table, 30), [vec![], vec!["wanted"]]);
        assert_eq!(held.minute(), None);
    }

    #[test]
    fn time_in_which_the_server_does_not_run_is_no_time_without_use() {
        let (mut table, uses) = served(&["never", "used"]);
        run(&mut table, 20 * DAY);
        note(&uses[1]);
        let record = table.record();
        let mut table = Table::of(record, START + 50 * DAY);
        table.serve(&entries(&["never", "used"]));
        assert_eq!(
            told(&table, 30),
            [vec![], vec!["never", "used"]],
            "it ran for 20 days, and then for none"
        );
        // The machine sleeps.
        table.tick(START + 60 * DAY);
        run(&mut table, 10 * DAY);
        assert_eq!(told(&table, 30), [vec!["never"], vec!["used"]]);
        run(&mut table, 20 * DAY);
        assert_eq!(told(&table, 30), [vec!["never", "used"], vec![]]);
        // A short pause does not count.
        let record = table.record();
        assert_eq!(Table::of(record.clone(), record.alive + PAUSE).pauses, table.pauses);
        for _ in 0..2 * MAX_PAUSES {
            let now = table.clock.minute();
            table.tick(now + PAUSE + 1);
            run(&mut table, DAY);
        }
        assert_eq!(table.pauses.len(), MAX_PAUSES);
        assert_eq!(table.pauses[0].from, START + 20 * DAY);
        assert!(table.pauses.is_sorted_by(|one, next| one.from < one.to && one.to < next.from));
        assert_eq!(told(&table, 64), [vec!["never", "used"], vec![]]);
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_unused() {
        let (mut table, uses) = served(&["never", "used"]);
        run(&mut table, 10 * DAY);
        // It was ahead by years.
        table.tick(START + 5000 * DAY);
        note(&uses[1]);
        run(&mut table, DAY);
        table.serve(&entries(&["never", "used", "added"]));
        table.tick(START + 10 * DAY);
        assert_eq!(told(&table, 10), [vec!["never"], vec!["added"]]);
        run(&mut table, 30 * DAY);
        assert_eq!(told(&table, 30), [vec!["never", "used", "added"], vec![]]);
        let record = table.record();
        let early = Table::of(record, START - DAY);
        assert_eq!(early.running_minutes(START), 0);
        let rows = early.rows.values().flat_map(BTreeMap::values);
        assert!(rows.into_iter().all(|row| row.since <= Some(START - DAY)));
    }

    #[test]
    fn the_record_is_due_once_a_minute_if_something_changed() {
        let (mut table, uses) = served(&["used"]);
        assert!(table.due().is_some() && table.due().is_none());
        table.tick(START + 1);
        assert!(table.due().is_none(), "nothing has changed");
        note(&uses[0]);
        assert_eq!(table.due().unwrap().entries["clients.a.commands"]["used"].last, Some(START + 1));
        note(&uses[0]);
        assert!(table.due().is_none(), "it is the same minute");
        table.tick(START + 2);
        table.due();
        table.tick(START + 3);
        assert!(table.due().is_none());
        table.not_written();
        assert!(table.due().is_some());
        table.serve(&entries(&["used", "added"]));
        table.tick(START + 4);
        assert!(table.due().is_some());
        table.tick(START + 4 + ALIVE);
        assert_eq!(table.due().unwrap().alive, START + 4 + ALIVE);
        table.tick(START);
        assert!(table.due().is_some(), "the clock was set back");
    }

    #[test]
    fn a_client_or_a_plugin_is_idle_if_none_of_its_entries_was_used() {
        let mut table = Table::of(Record::default(), START);
        let pairs = |one, two| [(one, "x"), (one, "y"), (two, "x"), (two, "y")];
        let clients = pairs("a", "b").map(|(name, text)| Entry::of_client(name, text));
        let plugins = pairs("p", "q").map(|(name, text)| Entry::of_plugin(name, text));
        let entries: Arc<[Entry]> = clients.into_iter().chain(plugins).collect();
        let uses: Vec<_> = entries.iter().map(|entry| table.row(entry)).collect();
        table.serve(&entries);
        run(&mut table, 40 * DAY);
        note(&uses[3]);
        note(&uses[6]);
        let unused = table.unused(TimeSpan::try_from("30d".to_owned()).unwrap()).to_string();
        let line = |line: &str| line.split(" since ").next().unwrap().replace("server.toml:1: ", "");
        let lines: Vec<_> = unused.lines().skip(1).map(line).collect();
        let of_clients = ["client a: nothing used", "pattern \"x\": never used"];
        assert_eq!(lines[..2], of_clients);
        assert_eq!(lines[2..], ["plugin p: nothing called", "command \"y\": never called"]);
    }

    fn records() -> impl Strategy<Value = Record> {
        let row = (0..START, proptest::option::of(1..START));
        let row = row.prop_map(|(since, last)| RecordedRow { since, last: last.map(|last| last.max(since)) });
        let entries = btree_map(".{0,8}", btree_map(".{0,8}", row, 1..4), 0..4);
        let pauses = vec(1..START, 0..8).prop_map(|mut ends| {
            ends.sort_unstable();
            ends.dedup();
            ends.chunks_exact(2).map(|pause| Pause { from: pause[0], to: pause[1] }).collect()
        });
        (pauses, entries).prop_map(|(pauses, entries)| Record::new(START, pauses, entries))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_record_is_the_same_after_it_was_kept(record in records()) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state/usage.json");
            let (mut kept, found) = super::super::file::Kept::open(path.clone());
            prop_assert_eq!(found, None);
            kept.write(&record).unwrap();
            let read = super::super::file::read(&path).unwrap().unwrap();
            prop_assert_eq!(&read, &record);
            prop_assert_eq!(Table::of(read, START).record(), record);
        }
    }
}
