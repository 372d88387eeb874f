//! Tests for the redaction of config files: secrets are hidden, the rest stays visible.

use super::*;
use crate::config::raw::SECTIONS;

/// Values and keys in places where they may not be shown; `S` stands for the secret.
const HIDDEN: &[&str] = &[
    "[plugins.a.config]\nkey = \"S\" # S",
    "[plugins.a]\nconfig = { key = 'S', list = [1, \"S\"], deep = { x = \"S\" } } # S",
    "plugins.a.config.key.deep = \"\"\"\nS\nS\"\"\"",
    "plugins = { a = { config = { timeout = \"S\" } } }",
    "[plugins.a.config]\ntimeout = \"S\"\n\"S\" = 5\nS1 = 5\n[plugins.a.config.grants]\nhttp = [\"S\"]",
    "[\"plugins\".\"a\".\"conf\\u0069g\"]\ntimeout = \"S\"",
    "[[plugins.a.config]]\ntimeout = \"S\"",
    "[plugins.a.confg]\ntimeout = \"S\"",
    "[plugins.a.config]\nkey = { file = \"a\", value = \"S\" }\nk.env = \"A=S\"\nfile = \"S\"\nkey.other = \"S\"",
    "[plugins.a]\nauth = \"S\"\nconfig = \"S\"\ngrants = \"S\"\ntimeout = { x = \"S\" }",
    "[plugins.a.grants]\nhttp = ['https://a:S@b/c', \"https://b?S\", 'https://b/#S', 'https://a:/S@b', 'a:S@b']",
    "[plugins.a.grants]\nhttp = [{ url = 'https://a:S@b/c', auth = 'S' }]",
    "[clients.a]\nAPI-key = \"S\"",
    "[server]\nprivate_key = '''-----BEGIN PRIVATE KEY-----\nS\n-----END PRIVATE KEY-----'''",
    "[server]\nprivate_key = \"-----BEGIN PRIVATE KEY-----\\nS\"",
    "# S\n[server] # S\nlisten = [ # S\n]",
    "server = \"S\"\nother = 1979-05-27 07:32:00\nx = \"S\"",
];

/// The same for a secret without a digit, where the place of a secret is expected.
const HIDDEN_LETTERS: &[&str] = &[
    "[plugins.a.config]\nkey = { S = \"file\" }",
    "[plugins.a.config]\nkey = { \"S\" = 'file', file = \"a\" }",
    "[plugins.a.config]\nkey.S = \"file\"",
    "[plugins.a.config]\nkey.file.S = \"file\"",
    "[plugins.a.config.key.S]\nfile = \"a\"",
    "[plugins.a.config.key]\nS = \"file\"",
    "[plugins.a.config]\nkey = { fileS = \"a\", envS = 'a', credentialS = \"a\" }",
    "[plugins]\na = { config = { key = { S = \"file\" } } }",
    "[plugins.'a.b'.config]\nkey = { S = 5 }",
    "[plugins.a.config]\nkey = \"S\" # S",
    "[plugins.a.config]\nkey = { file = \"a\", env = 'a=S' }",
];

/// Texts that are not TOML.
const BROKEN: &[&str] = &[
    "[plugins.a.config] password = \"S\"",
    "[plugins.a.config]x=\"S\"",
    "[plugins.a.config] S",
    "[plugins.a.config\nx = \"S\"",
    "[plugins.a.config]\nkey = \"S\n",
    "[plugins.a.config]\nkey = \"\"\"\nS\n",
    "[plugins.a]\nconfig = { key = \"S\n",
    "[plugins.a]\nconfig = {\n x = \"S\"\n z\n}",
    "[plugins.a]\nconfig.\"S",
    "plugins.a.config.key = S",
    "[plugins.a.config]\nkey = [\n [\"S\"],\n S",
    "[plugins.a]\ntimeout = \"1s\" token = \"S\"",
    "[plugins.a]\ntimeout = \"1s, token = S",
    "[plugins.a]\ncommands = [\"a\" token = \"S\"]",
    "[plugins.a]\ncomponent = a.wasm\", token = \"S",
    "[plugins.a]\ncomponent = S",
    "password = S",
    "S",
    "key S",
    "key = = S",
    "private_key = \"-----BEGIN PRIVATE KEY-----\nS\n",
];

#[test]
fn what_may_be_secret_is_hidden_and_nothing_moves() {
    let digits =
        [(HIDDEN, Grammar::Toml), (BROKEN, Grammar::Broken)].map(|(texts, it)| (texts, it, "hunter2"));
    // Letters alone.
    let letters = [(HIDDEN_LETTERS, Grammar::Toml), (BROKEN, Grammar::Broken)];
    let letters = letters.map(|(texts, grammar)| (texts, grammar, "hunterhunter"));
    for (texts, grammar, secret) in digits.into_iter().chain(letters) {
        for text in texts {
            let text = text.replace('S', secret).replace('x', "é");
            let text = if text.contains("é =") { text.replace('é', "\"é\"") } else { text };
            let visible = document(&text, grammar, SECTIONS);
            assert!(!visible.contains("hunter"), "{text}\n{visible}");
            assert_eq!(visible.len(), text.len());
            assert_eq!(visible.lines().count(), text.lines().count());
        }
    }
}

#[test]
fn what_is_known_to_be_no_secret_is_shown() {
    let plain = "[server]\nlisten = [\"127.0.0.1:1\"]\n[plugins.a]\ntimeout = \"1s\"\nmax_calls = 5\n\
                 commands = [\"a\", \"b\"] \ngrants.http = [\n  \"https://a:1/b\",\n  { url = 'https://c', \
                 networks = [\"10.0.0.0/8\"] },\n]\n[[clients.\"x1\"]]\ncommands = [\"@*\"]\n\
                 [plugins.a.grants.directories]\n\"/data2\" = \"x\"\n\
                 [plugins.a.config]\ntoken = { file = \"secrets/1\" }\nkey.env = \"KEY1\"";
    assert_eq!(document(plain, Grammar::Toml, SECTIONS), plain);
    let patterns = "[clients.a]\ncommands = [\"a \\\"b c\\\" \\\\ *\", 'echo \"\\x2a\" ...', \"\\u0061 k=v,w?x#y me@host\"]\n\
                    certificates = [\"certs/me@host#1?.pem\", 'a\\b', \"c\\\"d\\\\e\"]\n\
                    [roles.r]\ncommands = [\"\"\"two \\\"\"\"\"]\n[plugins.p.grants]\ncommands = [\"x @ # ?\"]";
    assert_eq!(document(patterns, Grammar::Toml, SECTIONS), patterns);
    let broken = "[server]\nlisten = 127.0.0.1:1\n[plugins.a]\ntimeout = \"1s\n";
    assert_eq!(document(broken, Grammar::Broken, SECTIONS), broken);
    assert_eq!(document("[servr]\nlisen = x y", Grammar::Broken, SECTIONS), "[servr]\nlisen = . .");
}

#[test]
fn messages_show_urls_without_what_may_be_secret() {
    assert_eq!(urls("`https://u:p@h/x?q` é (http://h/#f)"), "`https://...@h/x?.` é (http://h/#..");
    assert_eq!(urls("u:p@h https:/h?q"), "...@h https:/h?.");
    let plain = "a@b ? c://d, did you mean `/a/b`?";
    assert_eq!(urls(plain), plain);
    let key = |table, name| key(table, name, SECTIONS).into_owned();
    assert_eq!(key("plugins.a.config", "API-key"), "API-key");
    assert_eq!(key("plugins.a.config", "hunter2"), "…");
    assert_eq!(key("plugins.a.config.key", "hunter"), "…");
    assert_eq!(key("plugins.a.b.config.key", "hunter"), "…");
    assert_eq!(key("plugins.a.config.key", "credentail"), "credentail");
    assert_eq!((key_of_broken("lisen", SECTIONS), key_of_broken("hunter", SECTIONS)), ("lisen", "…"));
    assert_eq!((key("clients", "web-01"), key("plugins.a", "sha256")), ("web-01".into(), "sha256".into()));
}
