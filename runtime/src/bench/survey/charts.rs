//! The plots of a survey.

use super::Survey;
use super::document::number;
use super::peers::{PeerRate, PeerRun, Peers};
use super::plot::{Axis, Bar, Chart, Guide, Kind as PlotKind, Plot, Point, Series};
use crate::bench::kernels::KernelTest;
use crate::bench::precisions::PrecisionReport;
use crate::bench::{Kind, Test};
use crate::model::Profile;

/// Units of the roofline.
const GIGA: f64 = 1e9;
/// Colours and shapes.
const STYLES: usize = 8;

/// A roofline for each number of threads that kernels were measured with.
pub fn rooflines(survey: &Survey) -> Vec<Plot> {
    let mut threads: Vec<usize> = survey.kernels.tests.iter().map(|test| test.threads).collect();
    threads.dedup();
    threads.into_iter().map(|threads| roofline(survey, threads)).collect()
}

fn roofline(survey: &Survey, threads: usize) -> Plot {
    let tests = || survey.kernels.tests.iter().filter(move |test| test.threads == threads);
    let bandwidth = median(tests().map(|test| test.bandwidth).collect());
    let mut isas: Vec<&str> = tests().map(|test| &test.isa[..]).collect();
    isas.sort_unstable();
    isas.dedup();
    let peak = |isa: &str| median(tests().filter(|test| test.isa == isa).map(|test| test.peak).collect());
    isas.sort_by(|a, b| peak(b).total_cmp(&peak(a)));

    let macs = || tests().map(|test| test.macs.median / GIGA);
    let widest = tests().map(|test| test.macs_per_byte).fold(16.0, f64::max) * 2.0;
    let highest = isas.iter().map(|isa| peak(isa) / GIGA).filter(|peak| peak.is_finite());
    let highest = highest.chain(macs()).fold(1.0, f64::max) * 1.5;
    let (x_low, y_low) = (2.0, macs().fold(highest, f64::min) / 2.0);
    let mut ticks = vec![4.0];
    while ticks[ticks.len() - 1] * 4.0 <= widest {
        ticks.push(ticks[ticks.len() - 1] * 4.0);
    }
    let x = Axis { low: x_low, high: widest, ..Axis::at("multiply-adds for a byte of weights (log)", ticks) };
    let y = Axis::decades("GMAC/s (log)", y_low, highest);

    let (mut guides, mut series) = (Vec::new(), Vec::new());
    for (style, isa) in isas.iter().enumerate() {
        let style = style % STYLES;
        let peak = peak(isa) / GIGA;
        let knee = (peak * GIGA / bandwidth).clamp(x_low, widest);
        if peak.is_finite() {
            guides.push(Guide { style: Some(style), from: (knee, peak), to: (widest, peak) });
        }
        let points = tests().filter(|test| test.isa == *isa).map(kernel_point).collect();
        let name = format!("{isa}, peak {} GMAC/s", number(peak));
        series.push(Series { name, style, joined: false, points });
    }
    // The bandwidth, from where it enters the picture to where it leaves it.
    let from = x_low.max(y_low * GIGA / bandwidth);
    let to = widest.min(highest * GIGA / bandwidth);
    let at = |x: f64| (x, x * bandwidth / GIGA);
    guides.push(Guide { style: None, from: at(from), to: at(to) });
    Plot {
        title: format!("Roofline, {}", of_threads(threads)),
        note: format!(
            "Each mark is a kernel on a matrix. Slope: {} GB/s from memory. Dashed: peaks of the instruction sets.",
            number(bandwidth / GIGA)
        ),
        kind: PlotKind::Points(Chart { x, y, series, guides }),
    }
}

fn kernel_point(test: &KernelTest) -> Point {
    let macs = test.macs.scaled(1.0 / GIGA);
    let title = format!("{}: {} GMAC/s, {:.2} of its roof", test.title(), number(macs.median), test.of_roof);
    Point { x: test.macs_per_byte, y: macs.median, range: (macs.median, macs.median), title }
}

/// Tokens a second against threads, prompt length and batch.
pub fn speeds(survey: &Survey) -> Vec<Plot> {
    let tests = &survey.speed.tests;
    let of = |kind: Kind| tests.iter().filter(move |test| test.kind == kind);
    let longest = of(Kind::Prefill).map(|test| test.tokens).max().unwrap_or(0);
    let decode: Vec<&Test> = of(Kind::Decode).filter(|test| test.sequences == 1).collect();
    let prefill: Vec<&Test> = of(Kind::Prefill).filter(|test| test.tokens == longest).collect();
    let threads = |test: &Test| test.threads;
    let whole = |_: &Test| 0;
    let plots = [
        (
            "Decoding against threads",
            "One sequence, token by token.",
            "threads",
            decode,
            threads as fn(&Test) -> _,
            whole as fn(&Test) -> usize,
        ),
        ("A prompt against threads", "The longest prompt.", "threads", prefill, threads, whole),
        (
            "Prompts against their length",
            "All tokens of a prompt at once.",
            "tokens of the prompt",
            of(Kind::Prefill).collect(),
            |test| test.tokens,
            threads,
        ),
        (
            "Decoding against the batch",
            "All sequences together.",
            "sequences decoded together",
            of(Kind::Decode).collect(),
            |test| test.sequences,
            threads,
        ),
    ];
    let plots = plots.into_iter().filter(|(.., tests, _, _)| !tests.is_empty());
    plots
        .map(|(title, note, label, tests, x, line)| {
            let note = format!(
                "{note} Medians, with the worst and the best; samples of each: {}.",
                survey.speed.repetitions
            );
            Plot { title: title.to_owned(), note, kind: PlotKind::Points(lines(label, &tests, x, line)) }
        })
        .collect()
}

/// Tokens a second over `x`, a line for each value of `line`.
fn lines(label: &'static str, tests: &[&Test], x: fn(&Test) -> usize, line: fn(&Test) -> usize) -> Chart {
    let distinct = |of: fn(&Test) -> usize| {
        let mut values: Vec<usize> = tests.iter().map(|test| of(test)).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let series = distinct(line).into_iter().enumerate().map(|(style, value)| {
        let mut own: Vec<&Test> = tests.iter().copied().filter(|test| line(test) == value).collect();
        own.sort_by_key(|test| x(test));
        let points = own.into_iter().map(|test| {
            let rate = test.tokens_per_second;
            let title = format!("{}: {} tokens/s", of_threads(test.threads), number(rate.median));
            Point { x: x(test) as f64, y: rate.median, range: (rate.worst, rate.best), title }
        });
        let name = if value == 0 { "tokens/s".to_owned() } else { of_threads(value) };
        Series { name, style: style % STYLES, joined: true, points: points.collect() }
    });
    let ticks = distinct(x).into_iter().map(|tick| tick as f64).collect();
    let y = Axis::linear("tokens/s", tests.iter().map(|test| test.tokens_per_second.best));
    Chart { x: Axis::at(label, ticks), y, series: series.collect(), guides: Vec::new() }
}

/// Bars of decoding in every precision, where that was measured.
pub fn precisions(report: &PrecisionReport) -> Option<Plot> {
    let bars: Vec<Bar> = report
        .tests
        .iter()
        .filter_map(|test| {
            let decode = test.tests.iter().find(|test| test.kind == Kind::Decode)?;
            let rate = decode.tokens_per_second;
            let style = usize::from(test.precision.profile != Profile::Fast.name());
            let range = (rate.worst, rate.best);
            Some(Bar { label: test.precision.to_string(), style, value: rate.median, range })
        })
        .collect();
    let threads = report.tests.first()?.tests.first()?.threads;
    (!bars.is_empty()).then(|| Plot {
        title: format!("Decoding in every precision, {}", of_threads(threads)),
        note: "Profile, head, keys and values; tokens/s: the median, and a line from the worst to the best."
            .to_owned(),
        kind: PlotKind::Bars(bars),
    })
}

/// Bars for each model and number of threads, of prompts and of decoding.
pub fn peers(peers: &Peers) -> Vec<Plot> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for run in &peers.runs {
        if !groups.contains(&(&run.model, run.threads)) {
            groups.push((&run.model, run.threads));
        }
    }
    let mut plots = Vec::new();
    for (model, threads) in groups {
        for (kind, rate) in [
            ("a prompt", (|run| run.prefill) as fn(&PeerRun) -> Option<PeerRate>),
            ("decoding", |run| run.decode),
        ] {
            let own = peers.runs.iter().filter(|run| run.model == model && run.threads == threads);
            let bars: Vec<Bar> = own
                .filter_map(|run| {
                    let rate = rate(run)?;
                    let style = usize::from(!run.is_own());
                    Some(Bar { label: run.title(), style, value: rate.median, range: (rate.min, rate.max) })
                })
                .collect();
            if !bars.is_empty() {
                plots.push(Plot {
                    title: format!("{model}: {kind}, {}", of_threads(threads)),
                    note: "Tokens/s: the median, and a line from the least to the most.".to_owned(),
                    kind: PlotKind::Bars(bars),
                });
            }
        }
    }
    plots
}

/// `1 thread` or `2 threads`.
pub fn of_threads(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
