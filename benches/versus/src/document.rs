//! Markdown tables, and their places in `docs/performance.md`. Pure: text in, text out.

use std::fmt::Write;

/// A table: its header, and rows with as many cells.
pub struct Table {
    text: String,
    columns: usize,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        let text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        Self { text, columns: head.len() }
    }

    pub fn row(&mut self, cells: &[String]) {
        assert_eq!(cells.len(), self.columns, "a row has a cell for each column");
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

/// Returns `document` with `text` in the place `name`, between its comments.
pub fn filled(document: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- versus:begin {name} -->\n"), format!("<!-- versus:end {name} -->"));
    let lacking = |mark: &str| format!("there is no place for {name}: {} is missing", mark.trim_end());
    let (before, rest) = document.split_once(&begin).ok_or_else(|| lacking(&begin))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| lacking(&end))?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::{Table, filled};

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let mut table = Table::new(&["server", "p50"]);
        table.row(&["Redis".into(), "82 µs".into()]);
        assert_eq!(table.into_text(), "| server | p50 |\n|---|---|\n| Redis | 82 µs |\n");
    }

    #[test]
    fn a_place_is_filled_again_and_again() {
        let document = "a\n<!-- versus:begin one -->\n<!-- versus:end one -->\nb\n";
        let once = filled(document, "one", "x\n").unwrap();
        assert_eq!(once, "a\n<!-- versus:begin one -->\n\nx\n\n<!-- versus:end one -->\nb\n");
        assert_eq!(filled(&once, "one", "y").unwrap(), once.replace('x', "y"));
        assert!(filled(document, "two", "").unwrap_err().contains("versus:begin two"));
    }
}
