//! Generated tables in documents.

use super::root;

/// Writes `text` into a document of the repository, between its marks of `name`.
pub(crate) fn fill(document: &str, name: &str, text: &str) -> Result<(), String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let path = root().join(document);
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let old = std::fs::read_to_string(&path).map_err(told)?;
    let lacks = |what: &str| format!("{document} lacks the {what} of {name}");
    let (before, rest) = old.split_once(&begin).ok_or_else(|| lacks("begin"))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| lacks("end"))?;
    std::fs::write(&path, format!("{before}{begin}{text}{end}{after}")).map_err(told)
}
