//! Results of a scenario: the text and tables for the document, and pictures.

use super::measure::{self, Series};

/// The text of one place in the document, and its pictures.
#[derive(Default)]
pub struct Outcome {
    paragraphs: Vec<String>,
    /// Omissions and problems, a sentence each.
    pub notes: Vec<String>,
    pub pictures: Vec<Picture>,
}

/// A picture that belongs to the text.
pub struct Picture {
    /// File name without its ending.
    pub name: &'static str,
    pub title: String,
    pub svg: String,
}

impl Outcome {
    /// Returns the peer; if it is unavailable, notes that for the reader.
    pub fn had<T>(&mut self, name: &str, peer: Result<T, String>) -> Option<T> {
        match peer {
            Ok(peer) => Some(peer),
            Err(why) => {
                let note = format!("{name} is left out: {}.", why.trim_end().trim_end_matches('.'));
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                None
            }
        }
    }

    pub fn add(&mut self, paragraph: impl Into<String>) {
        self.paragraphs.push(paragraph.into());
    }

    /// Adds the tables of contenders measured in turns: the figures, and the ratios of these pairs.
    pub fn add_series(&mut self, all: &[Series], pairs: &[(&str, &str)], what: &str) {
        self.add(measure::table(all, what));
        self.add(measure::ratios(pairs, all, what));
        self.notes.extend(measure::troubles(all));
    }

    pub fn draw(&mut self, name: &'static str, title: &str, picture: Result<String, String>) {
        match picture {
            Ok(svg) => self.pictures.push(Picture { name, title: title.to_owned(), svg }),
            Err(fault) => self.notes.push(format!("There is no picture {name}: {fault}.")),
        }
    }

    /// Refers from the text to its pictures, which are files in `folder`.
    pub fn show_pictures(&mut self, folder: &str) {
        let shown = self
            .pictures
            .iter()
            .map(|Picture { name, title, .. }| format!("![{title}]({folder}/{name}.svg)"));
        self.paragraphs.extend(shown);
    }

    /// Returns the whole text below a first line.
    pub fn text(&self, first: &str) -> String {
        let notes = self.notes.join(" ");
        let paragraphs =
            [first].into_iter().chain(self.paragraphs.iter().map(String::as_str)).chain([notes.as_str()]);
        let there = paragraphs.map(str::trim).filter(|paragraph| !paragraph.is_empty());
        there.collect::<Vec<_>>().join("\n\n")
    }
}
