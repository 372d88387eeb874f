//! A framed reply, as it is read.

/// A framed reply.
#[derive(Debug)]
pub struct Frame {
    /// `OK`, `ERR` or `PART`.
    pub status: String,
    /// The rest of the first line.
    pub message: String,
    fields: Vec<(String, String)>,
    /// The `Size` bytes after the head.
    pub body: Vec<u8>,
}

impl Frame {
    pub(super) fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let (status, message) = first.split_once(' ').unwrap_or((first, ""));
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field in {head:?}"));
            (name.to_owned(), value.to_owned())
        });
        Self { fields: fields.collect(), status: status.into(), message: message.into(), body: Vec::new() }
    }

    /// Returns the value of a header.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body of a success.
    pub fn text(&self) -> &str {
        assert_eq!(self.status, "OK", "{self:?}");
        std::str::from_utf8(&self.body).expect("this body is UTF-8")
    }

    /// Returns `Code` and `Outcome` of a failure.
    pub fn failure(&self) -> (&str, &str) {
        assert_eq!(self.status, "ERR", "{self:?}");
        (self.field("Code").unwrap_or_default(), self.field("Outcome").unwrap_or_default())
    }
}
