//! `check-load`: reads `/proc/loadavg`, which begins with three averages.

use lictor_plugin::Failure;

use crate::report::{Figure, Report, State};
use crate::threshold::Averages;

pub(crate) fn check(loadavg: &str, warning: &Averages, critical: &Averages) -> Result<Report, Failure> {
    let averages = parse(loadavg).ok_or("/proc/loadavg does not begin with three numbers")?;
    let [one, five, fifteen] = averages;
    let mut report = Report::new(State::Ok, format!("load average: {one:.2}, {five:.2}, {fifteen:.2}"));
    for (at, label) in ["load1", "load5", "load15"].into_iter().enumerate() {
        report = report.figure(&Figure {
            label,
            value: averages[at],
            unit: "",
            decimals: 3,
            warning: Some(&warning.0[at]),
            critical: Some(&critical.0[at]),
            most: None,
        });
    }
    Ok(report)
}

fn parse(text: &str) -> Option<[f64; 3]> {
    let numbers: Vec<f64> =
        text.split_ascii_whitespace().map_while(|word| word.parse().ok()).take(3).collect();
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_plugin::FromArgument;

    fn averages(text: &str) -> Averages {
        Averages::from_argument(&mut text.into()).unwrap()
    }

    #[test]
    fn three_averages_are_checked() {
        let text = |critical| {
            let loadavg = "0.10 0.20 0.30 1/234 5678\n";
            check(loadavg, &averages("5,4,3"), &averages(critical)).unwrap().text()
        };
        assert_eq!(
            text("10,9,8"),
            "OK - load average: 0.10, 0.20, 0.30|load1=0.100;5.000;10.000;0; load5=0.200;4.000;9.000;0; \
             load15=0.300;3.000;8.000;0;"
        );
        assert!(text("10,9,0.2").starts_with("CRITICAL - load average"));
        assert_eq!(check("0.1 0.2\n", &averages("1,1,1"), &averages("1,1,1")).unwrap_err().code(), "failed");
    }
}
