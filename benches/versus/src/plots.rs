//! Charts as SVG text. Pure: the same figures give the same bytes.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::figures::Unit;
use super::spread::Spread;

/// One bar: the median and spread of the rounds.
pub struct Bar<'a> {
    pub name: &'a str,
    pub spread: Spread,
    /// Note behind the bar's figure; may be empty.
    pub note: String,
}

/// Lines over two axes; the vertical axis is logarithmic, in nanoseconds.
pub struct Chart<'a> {
    pub title: &'a str,
    pub x_name: &'a str,
    pub y_name: &'a str,
    pub x_scale: Scale,
    pub lines: Vec<Line<'a>>,
}

pub struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, f64)>,
}

/// Unit of the horizontal axis.
#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    /// Requests per second.
    Load,
    /// Nines: 1 is 90 %, 2 is 99 %.
    Nines,
}

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (860, 460);
const TITLE: (&str, u32) = ("sans-serif", 19);
const TEXT: (&str, u32) = ("sans-serif", 14);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Colors that people with color blindness can tell apart, so that a program has the same in all pictures: by
/// the beginning of its name, without Markdown.
const COLORS: [(&str, RGBColor); 6] = [
    ("Redis", RGBColor(213, 94, 0)),
    ("Lictor echo warm", RGBColor(0, 114, 178)),
    ("Lictor echo fresh", RGBColor(86, 180, 233)),
    ("Lictor", RGBColor(0, 158, 115)),
    ("wasmtime serve, reused", RGBColor(204, 121, 167)),
    ("wasmtime serve", RGBColor(120, 120, 120)),
];

fn color_of(name: &str) -> RGBColor {
    COLORS.iter().find(|(begin, _)| name.starts_with(begin)).map_or(BLACK, |(_, color)| *color)
}

/// Returns a name as it is drawn.
fn plain(name: &str) -> String {
    name.replace('`', "")
}

/// Draws horizontal bars from zero, the first on top.
pub fn bars(title: &str, x_name: &str, bars: &[Bar<'_>]) -> Result<String, String> {
    drawn(|area| {
        let most = bars.iter().map(|bar| bar.spread.most).fold(0.0, f64::max);
        let count = bars.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(title, TITLE.into_font())
            .margin(16)
            .margin_right(36)
            .x_label_area_size(48)
            .y_label_area_size(190)
            // Room for the note behind the longest bar.
            .build_cartesian_2d(0.0..(most * 1.55).max(1.0), count..0.0)?;
        let name_at = |place: f64| {
            let bar = (place.fract() - 0.5).abs() < 0.01;
            let bar = bars.get(place as usize).filter(|_| bar);
            bar.map(|bar| plain(bar.name)).unwrap_or_default()
        };
        let name_of = |place: &f64| name_at(*place);
        let number = |number: &f64| tick(Unit::Count, *number);
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().y_labels(2 * bars.len() + 1).y_label_formatter(&name_of);
        mesh.x_labels(8).x_label_formatter(&number).x_desc(x_name).max_light_lines(0).bold_line_style(GRID);
        mesh.label_style(TEXT.into_font()).draw()?;
        for (place, bar) in bars.iter().enumerate() {
            let (top, middle, bottom) = (place as f64 + 0.2, place as f64 + 0.5, place as f64 + 0.8);
            let Spread { median, least, most } = bar.spread;
            let color = color_of(&plain(bar.name));
            let range = PathElement::new([(least, middle), (most, middle)], BLACK.stroke_width(1));
            chart.draw_series([Rectangle::new([(0.0, top), (median, bottom)], color.filled())])?;
            chart.draw_series([range])?;
            let figure = format!("{} {}", Unit::Count.of(median), plain(&bar.note));
            let written = Text::new(figure.trim_end().to_owned(), (8, -7), TEXT.into_font());
            chart.draw_series([EmptyElement::at((most, middle)) + written])?;
        }
        Ok(())
    })
}

/// Draws a line for each series, with a legend.
pub fn lines(chart: &Chart<'_>) -> Result<String, String> {
    let points = || chart.lines.iter().flat_map(|line| &line.points).copied();
    let most_x = points().map(|(x, _)| x).fold(0.0, f64::max);
    let (least_y, most_y) =
        points().fold((f64::INFINITY, 1.0_f64), |(least, most), (_, y)| (least.min(y), most.max(y)));
    if !least_y.is_finite() {
        return Err("nothing was measured".into());
    }
    // From one grid line to another.
    let y_range = decade(least_y.max(1.0) * 0.9, f64::floor)..decade(most_y * 1.1, f64::ceil);
    drawn(|area| lines_in(area, chart, 0.0..most_x * 1.02, y_range))
}

fn lines_in(area: &Area<'_>, chart: &Chart<'_>, x_range: Range<f64>, y_range: Range<f64>) -> Drawn {
    let mut drawing = ChartBuilder::on(area)
        .caption(chart.title, TITLE.into_font())
        .margin(16)
        .margin_right(36)
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(x_range, y_range.log_scale())?;
    let x_label = |x: &f64| match chart.x_scale {
        Scale::Load => tick(Unit::Count, *x),
        Scale::Nines => part(*x),
    };
    let y_label = |y: &f64| tick(Unit::Time, *y);
    let mut mesh = drawing.configure_mesh();
    mesh.x_desc(chart.x_name).y_desc(chart.y_name).x_label_formatter(&x_label).y_label_formatter(&y_label);
    mesh.x_labels(if chart.x_scale == Scale::Nines { 5 } else { 9 });
    mesh.max_light_lines(0).bold_line_style(GRID).label_style(TEXT.into_font()).draw()?;
    for line in &chart.lines {
        let name = plain(line.name);
        let color = color_of(&name);
        let series = LineSeries::new(line.points.iter().copied(), color.stroke_width(2));
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2));
        drawing.draw_series(series)?.label(name).legend(legend);
        if chart.x_scale == Scale::Load {
            drawing.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        }
    }
    drawing
        .configure_series_labels()
        .position(match chart.x_scale {
            // The corner that rising lines leave free.
            Scale::Load => SeriesLabelPosition::UpperLeft,
            Scale::Nines => SeriesLabelPosition::LowerRight,
        })
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(TEXT.into_font())
        .draw()?;
    Ok(())
}

/// Returns the SVG drawn by `draw`, on white, which is also readable on a dark page.
fn drawn(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let all = area
            .fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| draw(&area))
            .and_then(|()| Ok(area.present()?));
        all.map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

/// Rounds `number` to a power of ten, up or down.
fn decade(number: f64, round: fn(f64) -> f64) -> f64 {
    10_f64.powf(round(number.log10()))
}

/// Formats a figure on an axis, which is round: `100 µs`.
pub fn tick(unit: Unit, figure: f64) -> String {
    let written = if figure == 0.0 { "0".into() } else { unit.of(figure) };
    match written.split_once('.') {
        Some((whole, rest)) => {
            let (decimals, unit) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
            let decimals = decimals.trim_end_matches('0');
            let point = if decimals.is_empty() { "" } else { "." };
            format!("{whole}{point}{decimals}{unit}")
        }
        None => written,
    }
}

/// Formats a number of nines in percent: `99.9 %`.
pub fn part(nines: f64) -> String {
    let decimals = (nines - 2.0).max(0.0).ceil() as usize;
    format!("{:.decimals$} %", 100.0 * (1.0 - 10_f64.powf(-nines)))
}

#[cfg(test)]
mod tests {
    use super::{Bar, Chart, Line, Scale, bars, lines, part, tick};
    use crate::figures::Unit;
    use crate::spread::Spread;

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
}
