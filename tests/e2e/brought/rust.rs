//! A plugin with crates of others; `now` and `dice` are replaced where the standard library has them.

use lictor_plugin::prelude::*;

#[plugin]
mod commands {
    /// reads JSON that is nested so deep, and counts the bytes of what it writes of it
    #[command]
    fn json(depth: usize) -> Result<usize, Failure> {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let value: serde_json::Value = serde_json::from_str(&text).map_err(Failure::because)?;
        Ok(value.to_string().len())
    }

    /// counts words
    #[command]
    fn words(text: &str) -> Result<usize, Failure> {
        Ok(regex::Regex::new(r"\w+").map_err(Failure::because)?.find_iter(text).count())
    }

    /// tells the seconds since 1970, twice: by the kit and by chrono
    #[command]
    fn now() -> Result<String, Failure> {
        let time = clock::unix_time();
        Ok(format!("{} {}", time.as_secs(), now_by_chrono(time)?.timestamp()))
    }

    /// makes two ids
    #[command]
    fn ids() -> String {
        format!("{} {}", uuid::Uuid::new_v4(), uuid::Uuid::new_v4())
    }

    /// casts a die as often
    #[command]
    fn dice(times: usize) -> String {
        use rand::Rng;
        (0..times).map(|_| rand::rng().random_range(1..=6).to_string()).collect()
    }

    /// greets by a template
    #[command]
    fn hello(name: &str) -> Result<String, Failure> {
        let environment = minijinja::Environment::new();
        let rendered = environment.render_str("hello {{ name|upper }}", minijinja::context!(name));
        rendered.map_err(Failure::because)
    }

    /// adds up the second column of CSV
    #[command]
    fn sum() -> Result<i64, Failure> {
        let body = request::body();
        let mut sum = 0;
        for row in csv::Reader::from_reader(body.as_slice()).records() {
            sum += row.map_err(Failure::because)?.get(1).unwrap_or_default().parse::<i64>()?;
        }
        Ok(sum)
    }
}
