//! Places in an author's files, by position in a component's code: a table, made by the compiler's process
//! and read when a plugin traps.
//!
//! The process that makes a table has read bytes that a component's author may have written against it, so
//! nothing in a table is trusted: a number that points outside it is ignored.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use crate::text::shown;

/// The largest table, enough for some megabytes of code. It is kept in memory for as long as the plugin is.
pub(in crate::plugin) const MAX_PLACES_BYTES: usize = 16 << 20;

/// Most functions inlined into one another that are reported of one place.
pub(in crate::plugin) const MAX_INLINED: usize = 16;

/// Prefix for names of files outside the author's folder, or of the kit.
pub(in crate::plugin) const ELSEWHERE: &str = "…/";

/// Stands for no frame.
const NONE: u32 = u32::MAX;

const WORD_BYTES: usize = 4;

/// Words before the rows: the numbers of rows, frames and names.
const HEADER_WORDS: usize = 3;

/// A row: the start of its code, and its frame. A frame: its function, its file, its line, and the frame into
/// which it was inlined. A name: its end in the text of all names.
const ROW_WORDS: usize = 2;
const FRAME_WORDS: usize = 4;

/// A function, and a line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Place<'a> {
    pub(in crate::plugin) function: &'a str,
    /// Empty if unknown.
    pub(in crate::plugin) file: &'a str,
    /// 0 if unknown.
    pub(in crate::plugin) line: u32,
}

impl Place<'_> {
    /// Returns true if the place is in the author's own files.
    pub(in crate::plugin) fn is_authors(&self) -> bool {
        !self.file.is_empty() && !self.file.starts_with(ELSEWHERE)
    }
}

/// Characters of a file's name that are shown.
const MAX_FILE_CHARS: usize = 1024;

/// The file and the line, made safe to show: both the log and core dumps contain them.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = shown(self.file, MAX_FILE_CHARS);
        match (self.file, self.line) {
            ("", _) => f.write_str("an unknown place"),
            (_, 0) => write!(f, "{file}"),
            (_, line) => write!(f, "{file}:{line}"),
        }
    }
}

/// A table under construction.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Table {
    /// Starts and ends of code, with the frame of each.
    rows: Vec<(u32, u32, u32)>,
    frames: HashMap<[u32; FRAME_WORDS], u32>,
    names: HashMap<String, u32>,
}

/// Returns the number of `one` among the `known`; adds it if it is new.
fn number<K: Hash + Eq + Borrow<Q>, Q: ToOwned<Owned = K> + Hash + Eq + ?Sized>(
    known: &mut HashMap<K, u32>,
    one: &Q,
) -> u32 {
    if let Some(number) = known.get(one) {
        return *number;
    }
    let next = u32::try_from(known.len()).unwrap_or(NONE);
    known.insert(one.to_owned(), next);
    next
}

fn in_order<K>(known: HashMap<K, u32>) -> Vec<K> {
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_unstable_by_key(|(_, number)| *number);
    known.into_iter().map(|(key, _)| key).collect()
}

impl Table {
    /// Adds the code from `start` to `end`: it belongs to the first of these places, which was inlined into
    /// the function of the next, and so on.
    pub(in crate::plugin) fn add(&mut self, (start, end): (u32, u32), places: &[Place<'_>]) {
        let mut frame = NONE;
        for place in places.iter().rev() {
            let [function, file] = [place.function, place.file].map(|name| number(&mut self.names, name));
            frame = number(&mut self.frames, &[function, file, place.line, frame]);
        }
        self.rows.push((start, end, frame));
    }

    /// Returns the table's bytes; `None` if they are more than may be kept.
    pub(in crate::plugin) fn into_bytes(mut self) -> Option<Vec<u8>> {
        self.rows.sort_unstable();
        let mut rows: Vec<[u32; ROW_WORDS]> = Vec::new();
        let mut covered = 0;
        for (start, end, frame) in self.rows {
            let start = start.max(covered);
            if start >= end {
                continue;
            }
            if start > covered {
                rows.push([covered, NONE]);
            }
            if rows.last().is_none_or(|[_, last]| *last != frame) {
                rows.push([start, frame]);
            }
            covered = end;
        }
        rows.push([covered, NONE]);
        let (frames, names) = (in_order(self.frames), in_order(self.names));
        let mut bytes = Vec::new();
        let mut put = |words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        put(&[rows.len(), frames.len(), names.len()].map(|count| u32::try_from(count).unwrap_or(NONE)));
        rows.iter().for_each(|row| put(row));
        frames.iter().for_each(|frame| put(frame));
        let mut end = 0;
        for name in &names {
            end += name.len();
            put(&[u32::try_from(end).unwrap_or(NONE)]);
        }
        names.iter().for_each(|name| bytes.extend(name.as_bytes()));
        (bytes.len() <= MAX_PLACES_BYTES).then_some(bytes)
    }
}

/// A table for reading.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Places {
    bytes: Vec<u8>,
    rows: usize,
    frames: usize,
    names: usize,
}

impl Places {
    /// The table of a component of which no places are known.
    pub(in crate::plugin) const NONE: Self = Self { bytes: Vec::new(), rows: 0, frames: 0, names: 0 };

    /// Reads the table in these bytes; `None` if they are cut off.
    pub(in crate::plugin) fn of(bytes: Vec<u8>) -> Option<Self> {
        let mut places = Self { bytes, ..Self::default() };
        let [rows, frames, names] = [0, 1, 2].map(|index| places.word(index).map(|count| count as usize));
        (places.rows, places.frames, places.names) = (rows?, frames?, names?);
        (places.text_at()? <= places.bytes.len()).then_some(places)
    }

    /// Returns the places of the code `offset` bytes into the component, the innermost inlined function
    /// first; none if nothing is known of it.
    ///
    /// The head of a loop, where a call that computes is stopped, often has no line: it gets the line of the
    /// code that follows it in the same function.
    pub(in crate::plugin) fn at(&self, offset: usize) -> Vec<Place<'_>> {
        let row = u32::try_from(offset).ok().and_then(|offset| self.row_at(offset));
        let mut found = row.map(|row| self.chain(row)).unwrap_or_default();
        if let (Some(row), Some(first)) = (row, found.first_mut().filter(|first| first.line == 0)) {
            let is_in_it = |place: &&Place<'_>| place.function == first.function && place.file == first.file;
            first.line = self.chain(row + 1).iter().find(is_in_it).map_or(0, |next| next.line);
        }
        found
    }

    /// Returns the places of a row.
    fn chain(&self, row: usize) -> Vec<Place<'_>> {
        let mut found = Vec::new();
        let mut frame = Some(row).filter(|row| *row < self.rows).and_then(|row| self.row_word(row, 1));
        while let Some((place, outer)) = frame.and_then(|frame| self.frame(frame)) {
            found.push(place);
            frame = Some(outer).filter(|_| found.len() < MAX_INLINED);
        }
        found
    }

    /// Returns the last row that begins no later than `offset`.
    fn row_at(&self, offset: u32) -> Option<usize> {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.row_word(middle, 0)? <= offset {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low.checked_sub(1)
    }

    fn row_word(&self, row: usize, index: usize) -> Option<u32> {
        self.word(HEADER_WORDS + row * ROW_WORDS + index)
    }

    /// Returns the place of a frame, and the frame into which it was inlined.
    fn frame(&self, number: u32) -> Option<(Place<'_>, u32)> {
        let number = usize::try_from(number).ok().filter(|number| *number < self.frames)?;
        let at = HEADER_WORDS + self.rows * ROW_WORDS + number * FRAME_WORDS;
        let [function, file] = [0, 1].map(|index| self.word(at + index).and_then(|name| self.name(name)));
        Some((Place { function: function?, file: file?, line: self.word(at + 2)? }, self.word(at + 3)?))
    }

    fn name(&self, number: u32) -> Option<&str> {
        let number = usize::try_from(number).ok().filter(|number| *number < self.names)?;
        let ends = HEADER_WORDS + self.rows * ROW_WORDS + self.frames * FRAME_WORDS;
        let end = self.word(ends + number)? as usize;
        let start = if number == 0 { 0 } else { self.word(ends + number - 1)? as usize };
        let text = self.bytes.get(self.text_at()?..)?;
        std::str::from_utf8(text.get(start..end)?).ok()
    }

    /// Returns the start of the names' text.
    fn text_at(&self) -> Option<usize> {
        let rows = self.rows.checked_mul(ROW_WORDS)?;
        let frames = self.frames.checked_mul(FRAME_WORDS)?;
        let words = rows.checked_add(frames)?.checked_add(self.names)?.checked_add(HEADER_WORDS)?;
        words.checked_mul(WORD_BYTES)
    }

    fn word(&self, index: usize) -> Option<u32> {
        let at = index.checked_mul(WORD_BYTES)?;
        let bytes = self.bytes.get(at..at.checked_add(WORD_BYTES)?)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place<'a>(function: &'a str, file: &'a str, line: u32) -> Place<'a> {
        Place { function, file, line }
    }

    fn table() -> Vec<u8> {
        let mut table = Table::default();
        let (nth, greet) = (place("nth", "src/helper.rs", 7), place("greet", "src/lib.rs", 20));
        table.add((20, 30), &[nth, greet]);
        table.add((10, 20), &[greet]);
        table.add((25, 40), &[place("main", "…/rt.rs", 0)]);
        table.add((50, 50), &[greet]);
        // The head of a loop, and its body.
        table.add((60, 62), &[place("spin", "src/helper.rs", 0), greet]);
        table.add((62, 70), &[place("black_box", "…/hint.rs", 3), place("spin", "src/helper.rs", 9), greet]);
        table.add((70, 72), &[place("spin", "src/helper.rs", 0), greet]);
        table.into_bytes().unwrap()
    }

    #[test]
    fn each_place_is_found_by_where_its_code_is() {
        let places = Places::of(table()).unwrap();
        let told = |offset| places.at(offset).iter().map(|place| place.to_string()).collect::<Vec<_>>();
        for offset in [0, 9, 40, 50, 51, usize::MAX] {
            assert_eq!(told(offset), [""; 0], "{offset}");
        }
        assert_eq!((told(10), told(19)), (vec!["src/lib.rs:20".into()], vec!["src/lib.rs:20".into()]));
        for offset in [20, 25, 29] {
            assert_eq!(told(offset), ["src/helper.rs:7", "src/lib.rs:20"], "{offset}");
        }
        assert_eq!(told(39), ["…/rt.rs"]);
        assert_eq!(told(60), ["src/helper.rs:9", "src/lib.rs:20"]);
        assert_eq!(told(70), ["src/helper.rs", "src/lib.rs:20"]);
        assert_eq!(places.at(20)[0].function, "nth");
        assert!(places.at(20)[0].is_authors() && !places.at(39)[0].is_authors());
        assert!(Places::NONE.at(20).is_empty());
    }

    /// A core dump has the name as it is shown here.
    #[test]
    fn a_name_of_a_file_is_safe_to_show() {
        let place = place("f", "a\x1b]0;x\x07\nb.rs", 7);
        assert_eq!(place.to_string(), "a\\x1b]0;x\\x07\\nb.rs:7");
    }

    #[test]
    fn a_table_that_was_cut_off_or_has_a_circle_tells_less() {
        let whole = table();
        for length in 0..whole.len() {
            if let Some(places) = Places::of(whole[..length].to_vec()) {
                assert!(places.at(20).len() <= 2);
            }
        }
        // One row, one frame that was inlined into itself, one name.
        let words = [1, 1, 1, 0, 0, 0, 0, 5, 0, 1];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        bytes.push(b'f');
        assert_eq!(Places::of(bytes).unwrap().at(3), vec![place("f", "f", 5); MAX_INLINED]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_its_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), offset: u32) {
            if let Some(places) = Places::of(bytes) {
                places.at(offset as usize);
            }
        }

        /// Mostly a table, with small numbers if it has any.
        #[test]
        fn no_numbers_make_its_reader_fail(
            counts in [0..4_u32, 0..4_u32, 0..4_u32],
            words in prop::collection::vec(prop_oneof![0..64_u32, any::<u32>()], 40),
            offset: u32,
        ) {
            let bytes = counts.iter().chain(&words).flat_map(|word| word.to_le_bytes()).collect();
            prop_assert!(Places::of(bytes).unwrap().at(offset as usize).len() <= MAX_INLINED);
        }
    }
}
