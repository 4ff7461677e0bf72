//! Charts as SVG: a frame with two axes, and lines, bands and bars in it. Colours and type are the
//! page's (`page.css`); a chart only says what is what by class.

use super::text::{count, percent, short};
use maud::{Markup, html};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// How a value is written at an axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Percent,
    Number,
    Score,
}

impl Unit {
    /// The least distance of two ticks: there is no half day and no half conversion.
    fn least_step(self) -> f64 {
        if self == Self::Number { 1.0 } else { 0.0 }
    }

    fn write(self, value: f64) -> String {
        match self {
            Self::Percent => percent(value),
            Self::Number => count(value),
            Self::Score => short(value),
        }
    }
}

/// A range of values along one side of the frame.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// At most eight round values within the range: 1, 2 or 5 times a power of ten apart.
    fn ticks(&self, unit: Unit) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|s| s * power)
            .find(|&s| s >= rough)
            .unwrap_or(power)
            .max(unit.least_step());
        let first = (self.low / step).ceil() as i64;
        // Multiples, not a running sum, so that zero is zero.
        (first..first + 12).map(|i| i as f64 * step).take_while(|&v| v <= self.high + step * 1e-9).collect()
    }
}

/// The smallest and largest of the values, apart from each other, with zero if that was asked.
pub fn range(values: impl Iterator<Item = f64>, with_zero: bool) -> (f64, f64) {
    let start = if with_zero { (0.0, 0.0) } else { (f64::INFINITY, f64::NEG_INFINITY) };
    let (low, high) =
        values.filter(|v| v.is_finite()).fold(start, |(low, high), v| (f64::min(low, v), f64::max(high, v)));
    match (low, high) {
        (low, high) if low < high => (low, high),
        (low, _) if low.is_finite() => (low - 0.5, low + 0.5),
        _ => (0.0, 1.0),
    }
}

pub struct Line<'a> {
    pub class: &'static str,
    pub points: &'a [(f64, f64)],
}

/// A chart's data, and what a reader of the page's text is told of it.
pub struct Chart<'a> {
    pub title: &'a str,
    pub x: (&'a str, Unit),
    pub y: (&'a str, Unit),
    pub lines: Vec<Line<'a>>,
    /// x, low, high.
    pub band: &'a [(f64, f64, f64)],
    /// from, to, height.
    pub bars: &'a [(f64, f64, f64)],
}

impl Chart<'_> {
    pub fn svg(&self) -> Markup {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let xs = points().map(|(x, _)| x).chain(self.bars.iter().flat_map(|&(from, to, _)| [from, to]));
        let ys = points()
            .map(|(_, y)| y)
            .chain(self.band.iter().flat_map(|&(_, low, high)| [low, high]))
            .chain(self.bars.iter().map(|&(_, _, height)| height));
        let (low, high) = range(xs, false);
        let x = Scale { low, high, from: LEFT, to: WIDTH - RIGHT };
        let (low, high) = range(ys, true);
        let air = (high - low) * 0.05;
        let y =
            Scale { low: if low < 0.0 { low - air } else { low }, high: high + air, from: HEIGHT - BOTTOM, to: TOP };
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(self.title) {
                title { (self.title) }
                @for tick in y.ticks(self.y.1) {
                    line class=(if tick == 0.0 { "axis" } else { "grid" }) x1=(LEFT) x2=(WIDTH - RIGHT)
                        y1=(p(y.at(tick))) y2=(p(y.at(tick))) {}
                    text class="tick end" x=(LEFT - 6.0) y=(p(y.at(tick) + 4.0)) { (self.y.1.write(tick)) }
                }
                @for tick in x.ticks(self.x.1) {
                    text class="tick middle" x=(p(x.at(tick))) y=(HEIGHT - BOTTOM + 18.0) { (self.x.1.write(tick)) }
                }
                text class="label middle" x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 3.0) { (self.x.0) }
                text class="label" x="2" y=(TOP - 12.0) { (self.y.0) }
                @for &(from, to, height) in self.bars {
                    rect class="bar" x=(p(x.at(from) + 0.5)) width=(p((x.at(to) - x.at(from) - 1.0).max(0.5)))
                        y=(p(y.at(height))) height=(p(y.at(0.0) - y.at(height))) {}
                }
                @if !self.band.is_empty() { path class="band" d=(band(self.band, &x, &y)) {} }
                @for line in &self.lines { path class={ "line " (line.class) } d=(path(line.points, &x, &y)) {} }
            }
        }
    }
}

/// A place in the picture, to a tenth of its unit.
pub fn p(place: f64) -> String {
    format!("{place:.1}")
}

fn path(points: &[(f64, f64)], x: &Scale, y: &Scale) -> String {
    let points: Vec<_> = points.iter().map(|&(a, b)| format!("{} {}", p(x.at(a)), p(y.at(b)))).collect();
    if points.is_empty() { String::new() } else { format!("M{}", points.join("L")) }
}

fn band(points: &[(f64, f64, f64)], x: &Scale, y: &Scale) -> String {
    let high = points.iter().map(|&(a, _, high)| (a, high));
    let low = points.iter().rev().map(|&(a, low, _)| (a, low));
    let outline: Vec<_> = high.chain(low).collect();
    path(&outline, x, y) + "Z"
}

/// Small bars without axes, for a cell of a table.
pub fn sparkline(values: &[f64], title: &str) -> Markup {
    let (_, high) = range(values.iter().copied(), true);
    let width = 120.0 / values.len().max(1) as f64;
    html! {
        svg.spark viewBox="0 0 120 24" role="img" aria-label=(title) {
            title { (title) }
            @for (i, value) in values.iter().enumerate() {
                @let height = (value / high * 23.0).clamp(0.0, 23.0).max(1.0);
                rect class="bar" x=(p(i as f64 * width)) width=(p((width - 1.0).max(0.5))) y=(p(24.0 - height)) height=(p(height)) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let ticks = |low, high| Scale { low, high, from: 0.0, to: 1.0 }.ticks(Unit::Score);
        assert_eq!(Scale { low: 0.0, high: 2.0, from: 0.0, to: 1.0 }.ticks(Unit::Number), [0.0, 1.0, 2.0]);
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(-0.03, 0.11), [0.0, 0.05, 0.1]);
        assert_eq!(ticks(0.0, 12_345.0), [0.0, 5000.0, 10_000.0]);
    }

    #[test]
    fn a_chart_of_nothing_or_of_one_point_is_a_frame() {
        for points in [&[][..], &[(3.0, 0.0)]] {
            let lines = vec![Line { class: "a", points }];
            let chart =
                Chart { title: "t", x: ("x", Unit::Number), y: ("y", Unit::Percent), lines, band: &[], bars: &[] };
            let svg = chart.svg().into_string();
            assert!(svg.starts_with("<svg") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(!sparkline(&[], "t").into_string().contains("NaN"));
        assert!(!sparkline(&[0.0, 0.0], "t").into_string().contains("NaN"));
    }
}
