//! Output of a guest, cut into lines of the log. Knows neither the log nor whose the text is.
//!
//! Invariant: every byte of input ends up in a line, a count, or a line's end, however the input was split.

/// Maximum bytes of a line that are logged.
const MAX_LINE_BYTES: usize = 2048;

/// Bytes of output that one call may log; further lines are only counted.
const MAX_CALL_BYTES: usize = 64 << 10;

/// The logged part of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// Bytes after `text` that are not logged.
    pub(super) left_out_bytes: usize,
}

impl<'a> Line<'a> {
    /// Takes `text` as one line, whatever it contains.
    pub(super) fn of(text: &'a [u8]) -> Self {
        let (text, rest) = text.split_at(cut(text, MAX_LINE_BYTES));
        Self { text, left_out_bytes: rest.len() }
    }
}

/// Lines that were not logged at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// One result of cutting a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    Line(Line<'a>),
    /// From here on lines are only counted.
    Full,
}

/// The output of a call.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The unfinished line: the part that is logged, and one byte more to see where a character ends.
    begun: Vec<u8>,
    /// Bytes of the unfinished line that are not kept.
    beyond_bytes: usize,
    logged_bytes: usize,
    left_out: LeftOut,
}

impl Lines {
    /// Takes `bytes`, which may end anywhere, and passes on the lines that end in them.
    pub(super) fn push(&mut self, bytes: &[u8], mut log: impl FnMut(Piece<'_>)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let kept = text.len().min(MAX_LINE_BYTES + 1 - self.begun.len());
            self.begun.extend_from_slice(&text[..kept]);
            self.beyond_bytes += text.len() - kept;
            if text.len() < piece.len() {
                self.end(&mut log);
            }
        }
    }

    /// Ends the unfinished line. Empty lines are not logged.
    pub(super) fn end(&mut self, mut log: impl FnMut(Piece<'_>)) {
        if self.beyond_bytes == 0 && self.begun.last() == Some(&b'\r') {
            self.begun.pop();
        }
        if self.begun.is_empty() {
            return;
        }
        let left = MAX_CALL_BYTES - self.logged_bytes;
        let at = cut(&self.begun, MAX_LINE_BYTES.min(left));
        let left_out_bytes = self.begun.len() - at + self.beyond_bytes;
        // After a line that did not fit, a shorter one is not logged either.
        let is_full = at < self.begun.len() && left < MAX_LINE_BYTES;
        self.logged_bytes = if is_full { MAX_CALL_BYTES } else { self.logged_bytes + at };
        if at > 0 {
            log(Piece::Line(Line { text: &self.begun[..at], left_out_bytes }));
        } else {
            if self.left_out == LeftOut::default() {
                log(Piece::Full);
            }
            self.left_out.lines += 1;
            self.left_out.bytes += left_out_bytes as u64;
        }
        self.begun.clear();
        self.beyond_bytes = 0;
    }

    /// Restarts the count of logged bytes and returns what was left out until now. Keeps the unfinished line.
    pub(super) fn renew(&mut self) -> LeftOut {
        self.logged_bytes = 0;
        std::mem::take(&mut self.left_out)
    }
}

/// Finds the place to cut `text` so that at most `most` bytes are left and no character is split. Bytes that
/// are not text are cut anywhere.
fn cut(text: &[u8], most: usize) -> usize {
    const MAX_CHARACTER_BYTES: usize = 4;
    let goes_on = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let most = most.min(text.len());
    (0..MAX_CHARACTER_BYTES)
        .filter_map(|back| most.checked_sub(back))
        .find(|&at| !goes_on(at))
        .unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Result of a text: its lines, each with its left-out bytes, and the totals left out.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Logged {
        lines: Vec<(Vec<u8>, usize)>,
        left_out: LeftOut,
        was_told_full: usize,
    }

    fn logged(pieces: &[&[u8]]) -> Logged {
        let mut lines = Lines::default();
        let mut logged = Logged::default();
        let mut log = |piece: Piece<'_>| match piece {
            Piece::Line(line) => logged.lines.push((line.text.to_vec(), line.left_out_bytes)),
            Piece::Full => logged.was_told_full += 1,
        };
        pieces.iter().for_each(|piece| lines.push(piece, &mut log));
        lines.end(&mut log);
        logged.left_out = lines.renew();
        logged
    }

    /// Pseudo-random numbers that are the same in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).unwrap()
        }

        fn text(&mut self) -> Vec<u8> {
            const PARTS: [&str; 7] = ["a", "é", "☃", "🦀", "\r", "\n", "long "];
            let most = [3, 700, 3000, 40_000][self.below(4)];
            let is_text = self.below(4) > 0;
            let few = self.below(3) > 0;
            (0..self.below(most))
                .flat_map(|_| match PARTS[self.below(PARTS.len())] {
                    "\n" if few && self.below(500) > 0 => b"x".to_vec(),
                    _ if !is_text => vec![self.below(256) as u8],
                    part => part.as_bytes().to_vec(),
                })
                .collect()
        }
    }

    /// For any output in any pieces, lines and counts are those of the whole text and add up to it.
    #[test]
    fn lines_and_counts_give_the_whole_however_it_is_split() {
        let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
        let mut were_full = 0;
        for _ in 0..400 {
            let text = numbers.text();
            let whole = logged(&[&text]);
            let mut rest = &text[..];
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let most = [1, 5, 1024, 5000][numbers.below(4)];
                let (piece, left) = rest.split_at((1 + numbers.below(most)).min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            assert_eq!(logged(&pieces), whole);
            assert_is_whole(&text, &whole);
            were_full += whole.was_told_full;
        }
        assert!(were_full > 0, "no text was longer than a call may log");
    }

    fn assert_is_whole(text: &[u8], logged: &Logged) {
        let lines = text.split(|&byte| byte == b'\n').map(|line| match line.strip_suffix(b"\r") {
            Some(stripped) if stripped.len() <= MAX_LINE_BYTES => stripped,
            _ => line,
        });
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        let sum: usize = logged.lines.iter().map(|(text, _)| text.len()).sum();
        assert!(sum <= MAX_CALL_BYTES);
        for (at, (line, (text, left_out))) in lines.iter().zip(&logged.lines).enumerate() {
            assert!(!text.is_empty() && text.len() <= MAX_LINE_BYTES);
            assert!(line.starts_with(text) && text.len() + left_out == line.len());
            let is_last = at + 1 == logged.lines.len() && sum > MAX_CALL_BYTES - MAX_LINE_BYTES;
            assert!(*left_out == 0 || line.len() > MAX_LINE_BYTES || is_last);
            let is_text = std::str::from_utf8(line).is_ok();
            assert!(!is_text || std::str::from_utf8(text).is_ok(), "a character is cut in two");
        }
        let beyond = &lines[logged.lines.len()..];
        let bytes = beyond.iter().map(|line| line.len() as u64).sum();
        assert_eq!(logged.left_out, LeftOut { lines: beyond.len() as u64, bytes });
        assert_eq!(logged.was_told_full, usize::from(!beyond.is_empty()));
    }

    #[test]
    fn a_line_is_whole_up_to_the_bound_and_cut_between_characters_beyond_it() {
        for (character, most) in [("a", 2048), ("é", 2048), ("☃", 2046), ("🦀", 2048)] {
            let fits = character.repeat(most / character.len());
            assert_eq!(logged(&[fits.as_bytes()]).lines, [(fits.clone().into_bytes(), 0)]);
            for before in ["", "b", "bb", "bbb"] {
                let line = [before, &fits, character, character].concat();
                let logged = logged(&[line.as_bytes()]).lines;
                let [(text, left_out)] = &logged[..] else { panic!("{logged:?}") };
                assert!(
                    std::str::from_utf8(text).is_ok() && text.len() > MAX_LINE_BYTES - 4,
                    "{before}{character}"
                );
                assert_eq!(text.len() + left_out, line.len());
            }
        }
        let no_text = [0x80; 5000];
        assert_eq!(logged(&[&no_text]).lines, [(vec![0x80; 2048], 2952)]);
    }

    #[test]
    fn ends_of_lines_are_no_part_of_them() {
        let ends = logged(&[b"a\r\nb\n\r\n\nc\rd\n\re"]);
        assert_eq!(
            ends.lines,
            [(b"a".to_vec(), 0), (b"b".to_vec(), 0), (b"c\rd".to_vec(), 0), (b"\re".to_vec(), 0)]
        );
        // The line's end comes only with a later piece.
        let line = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(logged(&[line.as_bytes(), b"\r", b"\n"]).lines, [(line.into_bytes(), 0)]);
    }

    #[test]
    fn a_line_of_megabytes_leaves_room_for_the_next() {
        let long = "L".repeat(2 << 20);
        let lines = logged(&[long.as_bytes(), b"\nnext\n"]).lines;
        assert_eq!(lines, [(vec![b'L'; MAX_LINE_BYTES], (2 << 20) - MAX_LINE_BYTES), (b"next".to_vec(), 0)]);
    }
}
