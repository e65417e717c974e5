//! Plots as data: [`svg`](super::svg) draws them.

/// A plot under a title.
pub struct Plot {
    pub title: String,
    /// What the eye does not see.
    pub note: String,
    pub kind: Kind,
}

pub enum Kind {
    Points(Chart),
    Bars(Vec<Bar>),
}

/// Points over two axes.
pub struct Chart {
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    pub guides: Vec<Guide>,
}

pub struct Axis {
    pub label: &'static str,
    pub scale: Scale,
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
}

/// Points of one colour and shape.
pub struct Series {
    pub name: String,
    /// Index of the colour and the shape.
    pub style: usize,
    /// Whether a line goes through them, in this order.
    pub joined: bool,
    pub points: Vec<Point>,
}

pub struct Point {
    pub x: f64,
    pub y: f64,
    /// The worst and the best of what `y` is the median of.
    pub range: (f64, f64),
    /// What is said where the pointer rests on it.
    pub title: String,
}

/// A line that is no data: a limit.
pub struct Guide {
    /// That of the series which it limits, if it is one.
    pub style: Option<usize>,
    pub from: (f64, f64),
    pub to: (f64, f64),
}

/// A bar from zero.
pub struct Bar {
    pub label: String,
    pub style: usize,
    pub value: f64,
    pub range: (f64, f64),
}

impl Plot {
    /// Marks that it has.
    pub fn points(&self) -> usize {
        match &self.kind {
            Kind::Points(chart) => chart.series.iter().map(|series| series.points.len()).sum(),
            Kind::Bars(bars) => bars.len(),
        }
    }
}

impl Axis {
    /// From zero to above the greatest value, with at most six steps.
    pub fn linear(label: &'static str, values: impl Iterator<Item = f64>) -> Self {
        // Room for the number above the highest mark.
        let most = values.fold(f64::MIN_POSITIVE, f64::max) * 1.1;
        let unit = 10f64.powf(most.log10().floor() - 1.0);
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|of| of * unit);
        let step = steps.into_iter().find(|step| step * 6.0 >= most).unwrap_or(most);
        let count = (most / step).ceil();
        let ticks = (0..=count as usize).map(|tick| tick as f64 * step).collect();
        Axis { label, scale: Scale::Linear, low: 0.0, high: count * step, ticks }
    }

    /// Logarithmic, with ticks at these values and some room on both sides.
    pub fn at(label: &'static str, ticks: Vec<f64>) -> Self {
        let low = ticks.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ticks.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1.0) };
        let room = (high / low).powf(0.08).max(1.2);
        Axis { label, scale: Scale::Log, low: low / room, high: high * room, ticks }
    }

    /// Logarithmic, with ticks at 1, 2 and 5 times powers of ten; only at these where there are many.
    pub fn decades(label: &'static str, low: f64, high: f64) -> Self {
        let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let of: &[f64] = if high / low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = powers.flat_map(|power| of.iter().map(move |of| of * 10f64.powi(power)));
        let ticks = ticks.filter(|tick| (low..=high).contains(tick)).collect();
        Axis { label, scale: Scale::Log, low, high, ticks }
    }

    /// Where a value lies, from 0 at the low end to 1 at the high one.
    pub fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }
}

/// A tick's label: 20k for 20,000.
pub fn tick_label(tick: f64) -> String {
    match tick {
        10_000.0.. => format!("{}k", tick / 1000.0),
        _ => format!("{tick}"),
    }
}
