//! {{name}}: a plugin of Lictor. Each function below with `#[command]` is a command.

use lictor_plugin::prelude::*;

/// What `[plugins.{{name}}.config]` of server.toml may hold.
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

/// The rest is plain Rust, which `cargo test` tests on this machine.
fn greeting(greeting: &str, who: &str, from: &str) -> Result<String, Failure> {
    if who.chars().count() > 40 {
        return Err(Failure::bad_arguments("WHO has at most 40 characters"));
    }
    log_line!("greeting {who}"); // goes to the server's log
    Ok(format!("{greeting} {who}, from {from}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_refused() {
        assert_eq!(greeting("hello", "Ada", "dev").unwrap(), "hello Ada, from dev");
        assert!(greeting("hello", &"x".repeat(41), "dev").is_err());
    }
}
