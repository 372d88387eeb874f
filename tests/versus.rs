//! Computing and reading parts of the comparison with other programs (`benches/versus`): medians and ratios,
//! formatting of figures, tables and their places, pictures, and the other programs' protocols. Benchmarks
//! run no tests of their own.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, dead_code, reason = "only what is pure is tested here")]

#[path = "../benches/versus/document.rs"]
mod document;
#[path = "../benches/versus/figures.rs"]
mod figures;
#[path = "../benches/versus/http.rs"]
mod http;
#[path = "../benches/versus/machine.rs"]
mod machine;
#[path = "../benches/versus/plots.rs"]
mod plots;
#[path = "../benches/versus/resp.rs"]
mod resp;
#[path = "../benches/versus/spread.rs"]
mod spread;

use lictor::load::Dialect;

use document::{Table, filled};
use figures::{NOTHING, Unit, digits};
use http::Http;
use machine::cores_of;
use plots::{Bar, Chart, Line, Scale, bars, lines, part, tick};
use resp::Resp;
use spread::Spread;

#[test]
fn the_middle_is_that_of_the_sorted_figures() {
    let of = |figures: &[f64]| Spread::of(figures.iter().copied());
    assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
    assert_eq!(of(&[4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
    assert_eq!(of(&[7.0]), Some(Spread { median: 7.0, least: 7.0, most: 7.0 }));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[f64::NAN, f64::INFINITY]), None);
}

#[test]
fn a_ratio_is_that_of_one_round() {
    // The machine was half as fast in the second round; theirs was never as fast as ours.
    let ratios = Spread::of_ratios([200.0, 100.0], [100.0, 50.0]);
    assert_eq!(ratios, Some(Spread { median: 2.0, least: 2.0, most: 2.0 }));
    assert_eq!(Spread::of_ratios([1.0], [0.0]), None);
}

#[test]
fn numbers_have_three_digits() {
    let written = |number: f64| digits(number);
    assert_eq!(written(54_321.0), "54,300");
    assert_eq!(written(1_234_567.0), "1,230,000");
    assert_eq!(written(999.6), "1,000");
    assert_eq!(written(123.4), "123");
    assert_eq!(written(99.96), "100");
    assert_eq!(written(82.34), "82.3");
    assert_eq!(written(1.2549), "1.25");
    assert_eq!(written(0.0), "0.00");
}

#[test]
fn the_unit_fits_the_middle() {
    assert_eq!(Unit::Time.of(82_340.0), "82.3 µs");
    assert_eq!(Unit::Time.of(999_900.0), "1.00 ms");
    assert_eq!(Unit::Size.of(19_400.0), "19.4 KB");
    assert_eq!(Unit::Share.of(0.97), "97.0 %");
    let spread = Spread { median: 950_000.0, least: 900_000.0, most: 1_200_000.0 };
    assert_eq!(Unit::Time.of_spread(Some(spread)), "950 µs (900–1,200)");
    assert_eq!(Unit::Ratio.of_spread(Some(Spread { median: 2.0, least: 2.0, most: 2.0 })), "2.00");
    assert_eq!(Unit::Count.of_spread(None), NOTHING);
}

#[test]
fn a_table_has_a_line_for_each_row() {
    let mut table = Table::new(&["server", "p50"]);
    table.row(&["Redis".into(), "82 µs".into()]);
    assert_eq!(table.into_text(), "| server | p50 |\n|---|---|\n| Redis | 82 µs |\n");
}

#[test]
fn a_place_is_filled_again_and_again() {
    let document = "a\n<!-- versus:begin one -->\n<!-- versus:end one -->\nb\n";
    let once = filled(document, "one", "x\n").unwrap();
    assert_eq!(once, "a\n<!-- versus:begin one -->\n\nx\n\n<!-- versus:end one -->\nb\n");
    assert_eq!(filled(&once, "one", "y").unwrap(), once.replace('x', "y"));
    assert!(filled(document, "two", "").unwrap_err().contains("versus:begin two"));
}

#[test]
fn axes_are_labelled_in_words_of_people() {
    assert_eq!(tick(Unit::Time, 1e5), "100 µs");
    assert_eq!(tick(Unit::Time, 1e6), "1 ms");
    assert_eq!(tick(Unit::Time, 1.5e6), "1.5 ms");
    assert_eq!(tick(Unit::Count, 0.0), "0");
    assert_eq!(tick(Unit::Count, 50_000.0), "50,000");
    assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0].map(part), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
}

#[test]
fn pictures_are_small_and_the_same_each_time() {
    let spread = Spread { median: 54_000.0, least: 50_000.0, most: 60_000.0 };
    let draw = || {
        bars("title", "requests a second", &[Bar { name: "Redis `ECHO`", spread, note: String::new() }])
            .unwrap()
    };
    let svg = draw();
    assert_eq!(svg, draw());
    assert!(svg.starts_with("<svg") && svg.contains("Redis ECHO") && svg.contains("54,000"), "{svg}");
    let points = (1..80).map(|x| (f64::from(x) / 20.0, 1e5 * f64::from(x))).collect();
    let line = Line { name: "Redis `ECHO`", points };
    let chart = Chart { title: "t", x_name: "x", y_name: "y", x_scale: Scale::Nines, lines: vec![line] };
    let svg = lines(&chart).unwrap();
    assert!(svg.len() < 50_000 && svg.contains("99.9 %"), "{svg}");
    assert!(lines(&Chart { lines: Vec::new(), ..chart }).is_err());
}

#[test]
fn a_list_of_cores_is_read() {
    assert_eq!(cores_of("0-1"), [0, 1]);
    assert_eq!(cores_of("0,2-4,7"), [0, 2, 3, 4, 7]);
    assert_eq!(cores_of("3"), [3]);
    assert!(cores_of("").is_empty());
}

#[test]
fn a_request_is_a_list_of_texts() {
    let requests = Resp::new(&["ECHO", "hello"]).requests(2).unwrap();
    assert_eq!(requests, [b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n"; 2]);
}

#[test]
fn replies_of_redis_end_where_they_end() {
    let resp = Resp::new(&["PING"]);
    for (bytes, failure) in [
        (&b"+OK\r\n"[..], None),
        (b":12\r\n", None),
        (b"$5\r\nhe\r\no\r\n", None),
        (b"$0\r\n\r\n", None),
        (b"$-1\r\n", Some("there is nothing under the key")),
        (b"-ERR unknown\r\n", Some("ERR unknown")),
    ] {
        for end in 0..bytes.len() {
            assert!(resp.reply(&bytes[..end]).unwrap().is_none(), "{end} bytes of {bytes:?}");
        }
        let reply = resp.reply(&[bytes, b"+more"].concat()).unwrap().unwrap();
        assert_eq!((reply.length, reply.failure.as_deref()), (bytes.len(), failure));
    }
    assert!(resp.reply(b"HTTP/1.1 400\r\n").is_err());
}

#[test]
fn replies_of_http_end_where_they_end() {
    let http = Http::new("hello");
    for (bytes, failure) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: x\r\n\r\nhello"[..], None),
        (b"HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n", None),
        (b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n\r\n", Some("500 No")),
    ] {
        for end in 0..bytes.len() {
            assert!(http.reply(&bytes[..end]).unwrap().is_none(), "{end} bytes of {bytes:?}");
        }
        let reply = http.reply(&[bytes, b"HTTP"].concat()).unwrap().unwrap();
        assert_eq!((reply.length, reply.failure.as_deref()), (bytes.len(), failure));
    }
    assert!(http.reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
}
