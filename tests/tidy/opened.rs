//! Files that may open files, and the calls they may use.

use std::collections::BTreeSet;

use super::code::{line_of, words};
use super::rules::MAY_OPEN;
use super::{none, shipped_code};

#[test]
fn only_files_opens_what_somebody_else_wrote() {
    let mut faults = Vec::new();
    let mut found = BTreeSet::new();
    for (path, code) in shipped_code() {
        for (word, allowed) in MAY_OPEN {
            for at in words(&code, word) {
                found.insert((*word, path.clone()));
                if !allowed.contains(&path.as_str()) {
                    let line = line_of(&code, at);
                    faults.push(format!(
                        "{path}:{line}: `{word}` opens a file unseen. `files::Opened` looks at who wrote it, and bounds it"
                    ));
                }
            }
        }
    }
    for (word, allowed) in MAY_OPEN {
        let stale = allowed.iter().filter(|path| !found.contains(&(*word, (**path).to_owned())));
        faults.extend(stale.map(|path| format!("{path} has no `{word}` any more: take it out of MAY_OPEN")));
    }
    none(&faults, found.len());
}
