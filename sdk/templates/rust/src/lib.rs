//! {{name}}: a plugin of Lictor. Each function below with `#[command]` is a command.

use lictor_plugin::prelude::*;

/// The settings in `[plugins.{{name}}.config]` of server.toml.
#[derive(Config)]
struct Settings {
    #[config(default = "hello")]
    greeting: String,
}

#[plugin]
mod commands {
    /// greets somebody
    #[command(name = "{{name}}", idempotent)]
    fn greet(who: Option<String>) -> Result<String, Failure> {
        let who = who.unwrap_or_else(|| "world".to_owned());
        greeting(&Settings::load()?.greeting, &who, &request::caller().name)
    }
}

fn greeting(greeting: &str, who: &str, from: &str) -> Result<String, Failure> {
    if who.chars().count() > 40 {
        return Err(Failure::bad_arguments("WHO has at most 40 characters"));
    }
    log_line!("greeting {who}"); // goes to the server's log
    Ok(format!("{greeting} {who}, from {from}"))
}

/// `cargo test` runs these on this machine, against a test host.
#[cfg(test)]
mod tests {
    use lictor_plugin::testing::Host;

    use super::*;

    #[test]
    fn greets_as_configured() {
        let host = Host::new().caller("dev").config("greeting", "good day");
        assert_eq!(host.run(commands::COMMANDS, &["{{name}}", "Ada"]).unwrap(), b"good day Ada, from dev");
        assert_eq!(host.take_log(), ["greeting Ada"]);
    }

    #[test]
    fn long_names_are_refused() {
        assert!(greeting("hello", &"x".repeat(41), "dev").is_err());
    }
}
