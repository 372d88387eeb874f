//! The end of a log without what it may quote of requests, plugins and stores.

use serde_json::Value;

/// Fields of text that are kept of every event: times, names of the config, addresses, words of the program.
const KEPT: [&str; 19] = [
    "timestamp",
    "level",
    "message",
    "target",
    "connection",
    "request",
    "peer",
    "client",
    "plugin",
    "command",
    "thumbprint",
    "known_by",
    "outcome",
    "code",
    "stream",
    "deadline",
    "doing",
    "timeout",
    "cpu_time",
];

/// Fields that are kept as well, but of events of commands and plugins: there they quote what a plugin or a
/// client said, or a setting.
const KEPT_OF_SERVER: [&str; 9] =
    ["reason", "error", "advice", "address", "path", "cause", "stage", "version", "backtrace"];

const HIDDEN: &str = "…";

/// Returns the last lines of `log`, as many as fit into `most` bytes. A line that is no event in JSON is left
/// out: what is secret in it cannot be told.
pub(super) fn end(log: &str, most: usize) -> String {
    let (mut kept, mut bytes, mut left_out) = (Vec::new(), 0, 0);
    for line in log.lines().rev() {
        let Some(event) = event(line) else {
            left_out += 1;
            continue;
        };
        bytes += event.len() + 1;
        if bytes > most {
            break;
        }
        kept.push(event);
    }
    kept.reverse();
    let note = format!("{{\"message\":\"lines that are no events were left out\",\"count\":{left_out}}}");
    kept.extend((left_out > 0).then_some(note));
    kept.iter().map(|line| format!("{line}\n")).collect()
}

fn event(line: &str) -> Option<String> {
    let mut event: Value = serde_json::from_str(line).ok()?;
    let fields = event.as_object_mut()?;
    let target = fields.get("target")?.as_str()?;
    let is_of_calls = target.starts_with("lictor::command") || target.starts_with("lictor::plugin");
    let is_unknown = fields.get("code").is_some_and(|code| code == "unknown-command");
    for (name, value) in fields {
        let name = name.as_str();
        let is_kept = KEPT.contains(&name) || !is_of_calls && KEPT_OF_SERVER.contains(&name);
        // Numbers and truths say nothing that somebody else wrote.
        let may_quote = value.is_string() || value.is_array() || value.is_object();
        if may_quote && (!is_kept || is_unknown && name == "command") {
            *value = HIDDEN.into();
        }
    }
    Some(event.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_hidden_and_the_rest_stays() {
        for (event, hidden) in [
            (r#"{"target":"lictor::command","command":"echo","arguments":"hunter2","code":"ok"}"#, true),
            (r#"{"target":"lictor::command","command":"echo","reason":"hunter2"}"#, true),
            (r#"{"target":"lictor::command","command":"hunter2","code":"unknown-command"}"#, true),
            (r#"{"target":"lictor::plugin::output","plugin":"echo","line":"hunter2"}"#, true),
            (r#"{"target":"lictor::plugin","plugin":"echo","error":"hunter2","advice":"add hunter2"}"#, true),
            (r#"{"target":"lictor::connection","message":"bad request","fault":"hunter2"}"#, true),
            (r#"{"target":"lictor::of_tomorrow","unheard_of":"hunter2"}"#, true),
            (r#"{"target":"lictor::connection","reason":"an alert","peer":"1.2.3.4:5"}"#, false),
        ] {
            let shown = end(event, 1000);
            assert_eq!(shown.contains(HIDDEN), hidden, "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(hidden || shown.contains("an alert") && shown.contains("1.2.3.4:5"), "{shown}");
        }
    }

    #[test]
    fn the_end_is_kept_and_lines_for_people_are_counted() {
        let line = |number: u32| format!("{{\"n\":{number},\"target\":\"lictor::app\"}}\n");
        let log = line(1) + "2026-11-29 INFO hunter2\n" + &line(2) + "\"hunter2\"\n" + &line(3);
        let told = "{\"message\":\"lines that are no events were left out\",\"count\":2}\n";
        assert_eq!(end(&log, 1000), line(1) + &line(2) + &line(3) + told);
        assert_eq!(end(&(line(1) + &line(2)), line(2).len()), line(2));
    }
}
