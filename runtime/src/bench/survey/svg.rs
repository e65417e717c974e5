//! Draws plots as SVG. Sizes are such that text can be read on a phone, where a plot is about as wide as its coordinates
//! say; colours are the style sheet's.

use std::fmt::Write;

use super::document::number;
use super::html::escaped;
use super::plot::{Axis, Bar, Chart, Guide, Kind, Plot, Series, tick_label};

/// Coordinates of a plot.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 290.0;
/// Room beside the axes, for their labels.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 42.0;
/// A bar with its label.
const BAR: f64 = 40.0;

/// The picture of a plot.
pub fn draw(plot: &Plot) -> String {
    let (points, title) = (plot.points(), escaped(&plot.title));
    let (height, body) = match &plot.kind {
        Kind::Points(chart) => (HEIGHT, points_over_axes(chart)),
        Kind::Bars(bars) => (BAR * bars.len() as f64 + 8.0, horizontal_bars(bars)),
    };
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" data-points=\"{points}\">\n{body}</svg>\n"
    )
}

/// Writes a line; a `String` takes everything.
macro_rules! line {
    ($out:expr, $($arguments:tt)*) => { let _ = writeln!($out, $($arguments)*); };
}

fn x_of(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.position(value) * (WIDTH - LEFT - RIGHT)
}

fn y_of(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.position(value) * (HEIGHT - TOP - BOTTOM)
}

fn points_over_axes(chart: &Chart) -> String {
    let (x, y) = (&chart.x, &chart.y);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut out = String::new();
    for &tick in &y.ticks {
        let (at, label) = (y_of(y, tick), tick_label(tick));
        line!(out, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
        line!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, at + 4.0);
    }
    for &tick in &x.ticks {
        let (at, label) = (x_of(x, tick), tick_label(tick));
        line!(out, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        line!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom + 16.0);
    }
    line!(out, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
    line!(out, "<text x=\"4\" y=\"13\">{}</text>", escaped(y.label));
    let (middle, below) = ((LEFT + right) / 2.0, bottom + 34.0);
    line!(out, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", escaped(x.label));
    chart.guides.iter().for_each(|guide| draw_guide(&mut out, chart, guide));
    chart.series.iter().for_each(|series| draw_series(&mut out, chart, series));
    out
}

fn draw_guide(out: &mut String, Chart { x, y, .. }: &Chart, guide: &Guide) {
    let class = guide.style.map_or("limit".to_owned(), |style| format!("s{style} roof"));
    let [(ax, ay), (bx, by)] = [guide.from, guide.to].map(|(px, py)| (x_of(x, px), y_of(y, py)));
    line!(out, "<path class=\"{class}\" d=\"M{ax:.1} {ay:.1}L{bx:.1} {by:.1}\"/>");
}

fn draw_series(out: &mut String, Chart { x, y, .. }: &Chart, series: &Series) {
    let place = |px: f64, py: f64| (x_of(x, px), y_of(y, py));
    let class = format!("s{}", series.style);
    if series.joined {
        let path: Vec<String> = series
            .points
            .iter()
            .map(|point| place(point.x, point.y))
            .map(|(px, py)| format!("{px:.1} {py:.1}"))
            .collect();
        line!(out, "<path class=\"{class} line\" d=\"M{}\"/>", path.join("L"));
    }
    for point in &series.points {
        let (px, py) = place(point.x, point.y);
        let [low, high] = [point.range.0, point.range.1].map(|value| y_of(y, value.max(y.low)));
        line!(out, "<path class=\"{class} range\" d=\"M{px:.1} {low:.1}V{high:.1}\"/>");
        let mark = mark(series.style, px, py);
        line!(
            out,
            "<path class=\"{class} point\" d=\"{mark}\"><title>{}</title></path>",
            escaped(&point.title)
        );
    }
    if let (true, Some(last)) = (series.joined, series.points.last()) {
        let (px, py) = place(last.x, last.range.1.max(last.y));
        let anchor = if series.points.len() > 1 { "end" } else { "middle" };
        line!(
            out,
            "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            (px + 6.0).min(WIDTH - 2.0),
            py - 8.0,
            number(last.y)
        );
    }
}

/// The outline of a mark: shapes tell series apart where colours do not.
pub fn mark(style: usize, x: f64, y: f64) -> String {
    let (r, d) = (4.5, 9.0);
    match style % 6 {
        0 => format!("M{:.1} {y:.1}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", x - r),
        1 => format!("M{:.1} {:.1}h8v8h-8z", x - 4.0, y - 4.0),
        2 => format!("M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z", y - 5.5),
        3 => format!("M{x:.1} {:.1}l5.5 9.5h-11z", y - 6.0),
        4 => format!("M{x:.1} {:.1}l5.5 -9.5h-11z", y + 6.0),
        _ => format!("M{:.1} {:.1}h3v4h4v3h-4v4h-3v-4h-4v-3h4z", x - 1.5, y - 5.5),
    }
}

fn horizontal_bars(bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.range.1.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
    // Room for the number behind the longest bar.
    let length = |value: f64| value / most * (WIDTH - 64.0);
    let mut out = String::new();
    for (index, bar) in bars.iter().enumerate() {
        let (top, style) = (index as f64 * BAR, bar.style);
        let (label, value, width) = (escaped(&bar.label), number(bar.value), length(bar.value));
        line!(out, "<text x=\"0\" y=\"{:.1}\">{label}</text>", top + 13.0);
        line!(
            out,
            "<path class=\"s{style} point\" d=\"M0 {:.1}h{:.1}v14h-{:.1}z\"><title>{label}: {value}</title></path>",
            top + 18.0,
            width.max(1.0),
            width.max(1.0)
        );
        let (low, high) = (length(bar.range.0), length(bar.range.1));
        line!(out, "<path class=\"spread\" d=\"M{low:.1} {:.1}H{high:.1}\"/>", top + 25.0);
        line!(
            out,
            "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{value}</text>",
            high.max(width) + 6.0,
            top + 30.0
        );
    }
    out
}
