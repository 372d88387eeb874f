//! Finds the pins in a config's text, and inserts another beside one of them. The rest of the text is
//! unchanged.

use toml::de::{DeTable, DeValue};

use super::section::spliced;
use crate::config::written::{key_text, quoted};

/// A client's pin in the text of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPin {
    /// The client's name.
    pub client: String,
    /// The key in the client's section: `thumbprints` or `certificates`.
    pub key: &'static str,
    /// The value as written in the list.
    pub value: String,
    /// The end of the value in the text, in bytes.
    end: usize,
}

/// Lists all pins in the text of a config, in order; empty if the text is not TOML.
#[must_use]
pub fn pins(text: &str) -> Vec<WrittenPin> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let clients = table.get_ref().get("clients").and_then(|clients| clients.get_ref().as_table());
    let mut pins = Vec::new();
    for (name, client) in clients.into_iter().flat_map(|clients| clients.iter()) {
        for key in ["thumbprints", "certificates"] {
            let list = client.get_ref().as_table().and_then(|client| client.get(key));
            let list = list.and_then(|list| list.get_ref().as_array());
            for item in list.into_iter().flat_map(|list| list.iter()) {
                let DeValue::String(value) = item.get_ref() else { continue };
                let (client, value, end) = (name.get_ref().to_string(), value.to_string(), item.span().end);
                pins.push(WrittenPin { client, key, value, end });
            }
        }
    }
    pins
}

/// Returns the server's certificate and private key, as the text of a config names them.
#[must_use]
pub fn server_files(text: &str) -> Option<(String, String)> {
    let table = DeTable::parse(text).ok()?;
    let server = table.get_ref().get("server")?.get_ref().as_table()?;
    let file = |key: &str| Some(server.get(key)?.get_ref().as_str()?.to_owned());
    Some((file("certificate")?, file("private_key")?))
}

impl WrittenPin {
    /// The list that holds this pin, by its config key.
    #[must_use]
    pub fn list(&self) -> String {
        format!("clients.{}.{}", key_text(&self.client), self.key)
    }

    /// Returns `text`, the text this pin was found in, with the pin `value` inserted after it in the same
    /// list.
    #[must_use]
    pub fn with_another(&self, text: &str, value: &str) -> String {
        spliced(text, self.end..self.end, &format!(", {}", quoted(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_pin_stands_behind_the_old_one_and_nothing_else_is_touched() {
        let text = "# the office\n[clients.\"a.b\"]\ncertificates = [\n  'certs/é.pem', # its laptop\n]   # none more\n\
                    [clients.d]\nthumbprints=[\"ab\"]\n";
        let pins = pins(text);
        let told: Vec<_> = pins.iter().map(|pin| (&*pin.client, pin.key, &*pin.value)).collect();
        assert_eq!(told, [("a.b", "certificates", "certs/é.pem"), ("d", "thumbprints", "ab")]);
        assert_eq!(
            pins[0].with_another(text, "certs/new.pem"),
            text.replace("'certs/é.pem',", "'certs/é.pem', \"certs/new.pem\",")
        );
        assert_eq!(pins[1].with_another(text, "cd"), text.replace("[\"ab\"]", "[\"ab\", \"cd\"]"));
        assert_eq!(
            (&*pins[0].list(), &*pins[1].list()),
            ("clients.\"a.b\".certificates", "clients.d.thumbprints")
        );
        assert_eq!(super::pins("no toml"), []);
        let files = "[server]\ncertificate = 'a.pem'\nprivate_key = \"b.key\"";
        assert_eq!(server_files(files), Some(("a.pem".to_owned(), "b.key".to_owned())));
        assert_eq!(server_files("[server]\ncertificate = 'a.pem'\nprivate_key = 5"), None);
    }
}
