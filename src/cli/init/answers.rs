//! What a new config is to say: by options, by the answers of a user at a terminal, or by default.

use std::io::{self, BufRead};
use std::net::SocketAddr;

use crate::cli::revision::client_name;
use crate::cli::{Failure, output};
use crate::config::{ClientName, Listen, quoted};
use crate::text::InvalidText;

/// The address that a server listens at unless another is given.
const LISTEN: &str = "127.0.0.1:4888";

/// The client that runs commands unless others are given.
const CLIENT: &str = "dev";

/// The client that runs the built-in commands, and its role.
pub(super) const OPERATOR: &str = "operator";

/// The config, with places for the answers.
const TEMPLATE: &str = include_str!("init.toml");

/// What a new config is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) listen: SocketAddr,
    /// The clients beside the operator, at least one.
    pub(super) clients: Vec<ClientName>,
}

impl Answers {
    /// Takes these options, and the defaults of those that are not given.
    pub(super) fn of(listen: Option<SocketAddr>, clients: &[ClientName]) -> Result<Self, Failure> {
        let listen = listen.map_or_else(|| address(LISTEN), Ok).map_err(Failure::usage)?;
        let names = if clients.is_empty() { CLIENT.to_owned() } else { joined(clients) };
        let clients = client_names(&names).map_err(|what| Failure::usage(format!("--client: {what}")))?;
        Ok(Self { listen, clients })
    }

    /// Asks a user for each; Enter is the default.
    pub(super) fn asked(input: &mut impl BufRead) -> Result<Self, Failure> {
        let listen = ask(input, "Address to listen at", LISTEN, address)?;
        let clients = ask(input, "Clients that run commands, by name", CLIENT, client_names)?;
        Ok(Self { listen, clients })
    }

    /// Returns the names of all clients.
    pub(super) fn names(&self) -> Vec<String> {
        let clients = self.clients.iter().map(ToString::to_string);
        clients.chain([OPERATOR.to_owned()]).collect()
    }

    /// Returns the text of the config.
    pub(super) fn config(&self) -> String {
        let section = |name: &ClientName| {
            format!(
                "[{}]\ncertificates = [{}]\ncommands = [\"echo\", \"@ping\", \"@whoami\", \"@commands\", \"@cancel\"]\n\n",
                name.key(),
                quoted(&format!("certs/{name}.pem")),
            )
        };
        let clients: String = self.clients.iter().map(section).collect();
        let listen = quoted(&self.listen.to_string());
        TEMPLATE.replace("{{listen}}", &listen).replace("{{clients}}", &clients)
    }
}

/// Reads the address of a server.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    Listen::try_from(text.to_owned()).map(Listen::address).map_err(InvalidText::in_full)
}

/// Reads the names of clients, separated by spaces or commas.
fn client_names(text: &str) -> Result<Vec<ClientName>, String> {
    let mut names: Vec<ClientName> = Vec::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let name = client_name(word).map_err(|what| format!("{word}: {what}"))?;
        match word {
            "server" => {
                return Err("server: the server's own certificate has this name; choose another".to_owned());
            }
            OPERATOR => return Err(format!("{OPERATOR}: this client is made anyway; leave it out")),
            _ if names.contains(&name) => {
                return Err(format!("{name}: this name stands twice; leave one out"));
            }
            _ => names.push(name),
        }
    }
    if names.is_empty() { Err("a name is needed, such as dev".to_owned()) } else { Ok(names) }
}

fn joined(names: &[ClientName]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ")
}

/// Asks until `read` takes the answer.
fn ask<T>(
    input: &mut impl BufRead,
    question: &str,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        output::question(&format!("{question} [{default}]: "));
        let mut line = String::new();
        let answer = match input.read_line(&mut line) {
            Ok(0) => {
                output::question("\n");
                return Err(Failure::failed("no answer; nothing was written"));
            }
            Ok(_) if line.trim().is_empty() => default,
            Ok(_) => line.trim(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                output::note("the answer is not UTF-8");
                continue;
            }
            Err(error) => return Err(Failure::failed(format!("cannot read an answer: {error}"))),
        };
        match read(answer) {
            Ok(read) => return Ok(read),
            Err(what) => output::note(&what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(typed: &str) -> Result<Answers, Failure> {
        Answers::asked(&mut typed.as_bytes())
    }

    fn answers(listen: &str, clients: &[&str]) -> Answers {
        let clients = clients.iter().map(|name| name.parse().unwrap()).collect();
        Answers { listen: listen.parse().unwrap(), clients }
    }

    #[test]
    fn enter_is_the_default_as_no_option_is() {
        let default = answers("127.0.0.1:4888", &["dev"]);
        assert_eq!(asked("\n\n").unwrap(), default);
        assert_eq!(Answers::of(None, &[]).unwrap(), default);
    }

    #[test]
    fn a_wrong_answer_is_asked_again() {
        let typed = "localhost\n4888\n0.0.0.0:5000\noperator\nserver\na a\n-\n,\na.b, c\n";
        assert_eq!(asked(typed).unwrap(), answers("0.0.0.0:5000", &["a.b", "c"]));
        assert_eq!(Answers::asked(&mut &b"\xff\n\n\n"[..]).unwrap(), answers("127.0.0.1:4888", &["dev"]));
    }

    #[test]
    fn without_an_answer_there_are_none() {
        for typed in ["", "\n", "nonsense\n"] {
            assert!(asked(typed).unwrap_err().message().contains("nothing was written"), "{typed:?}");
        }
    }

    #[test]
    fn options_are_checked_as_answers_are() {
        let of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| client_name(name).unwrap()).collect();
            Answers::of(Some(address("[::1]:1").unwrap()), &names)
        };
        assert_eq!(of(&["a", "b"]).unwrap(), answers("[::1]:1", &["a", "b"]));
        for names in [&["server"][..], &["operator"], &["a", "a"]] {
            assert!(of(names).unwrap_err().message().starts_with("--client: "), "{names:?}");
        }
        assert!(address("example.com:1").is_err() && client_name("a b").is_err());
    }
}
