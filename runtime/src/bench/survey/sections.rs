//! What a survey says, section by section.

use super::Survey;
use super::charts::{self, of_threads};
use super::document::{Block, Cell, Document, Section, Table, number};
use super::peers::{PeerRate, Peers};
use crate::bench::kernels::{KernelTest, Roof};
use crate::bench::precisions::PrecisionTest;
use crate::bench::{Kind, Read, Test};
use crate::probe::{PLAUSIBLE, marked};

const GIGA: f64 = 1e9;
const MEGA: f64 = 1e6;

/// The whole document.
pub fn document(survey: &Survey) -> Document {
    let (model, precision) = (&survey.speed.model, &survey.speed.model.precision);
    Document {
        title: format!("{} on {}", model.name, survey.cpu.name),
        subtitle: format!(
            "tritforge {}, {}, {}; numerics {}, head {}, keys and values {}",
            survey.tritforge,
            survey.speed.platform,
            survey.date,
            precision.profile,
            precision.head,
            precision.kv
        ),
        sections: vec![
            findings(survey),
            kernels(survey),
            fixed_shapes(survey),
            speed(survey),
            precisions(survey),
            peers(survey.peers.as_ref()),
            method(survey),
        ],
    }
}

fn findings(survey: &Survey) -> Section {
    let best = |kind: Kind, sequences: usize| {
        let tests = survey.speed.tests.iter().filter(move |t| t.kind == kind && t.sequences == sequences);
        tests.max_by(|a, b| a.tokens_per_second.median.total_cmp(&b.tokens_per_second.median))
    };
    let mut points = Vec::new();
    if let Some(test) = best(Kind::Decode, 1) {
        let (rate, threads) = (number(test.tokens_per_second.median), of_threads(test.threads));
        let share = test.read.as_ref().map_or(String::new(), |read| match read.cacheable {
            true => "; a token reads so little that caches hold it".to_owned(),
            false => format!(", {:.2} of what memory delivers", read.of_bandwidth),
        });
        points.push(format!("Decoding: {rate} tokens/s on {threads}{share}."));
    }
    if let Some(test) = best(Kind::Prefill, 1) {
        let (rate, threads) = (number(test.tokens_per_second.median), of_threads(test.threads));
        points.push(format!(
            "A prompt of {} tokens: {rate} tokens/s on {threads}, {:.2} of what {} multiplies at its peak.",
            test.tokens, test.of_peak, test.isa
        ));
    }
    let most = survey.kernels.tests.iter().map(|test| test.threads).max().unwrap_or(0);
    for (bound, roof) in [("memory", Roof::Bandwidth), ("arithmetic", Roof::Peak)] {
        let tests = survey.kernels.tests.iter().filter(|test| test.threads == most && test.roof == roof);
        if let Some(test) = tests.max_by(|a, b| a.macs.median.total_cmp(&b.macs.median)) {
            points.push(format!(
                "The fastest kernel that {bound} bounds: {}: {} GMAC/s, {:.2} of its roof.",
                test.title(),
                number(test.macs.median / GIGA),
                test.of_roof
            ));
        }
    }
    let mut blocks = vec![Block::List(points)];
    let refused = survey
        .kernels
        .refused
        .iter()
        .map(|refused| format!("Not timed, for it is not exact: {}", refused.reason));
    let faults = survey.speed.probe_faults.iter().chain(&survey.kernels.probe_faults);
    let faults = faults.map(|fault| format!("Fault of the probe: {fault}, more than can be."));
    blocks.extend(warnings(refused.chain(faults)));
    Section { heading: "Findings", blocks }
}

/// A block, unless there is nothing to warn of.
fn warnings(lines: impl Iterator<Item = String>) -> Option<Block> {
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then_some(Block::Warning(lines))
}

fn kernels(survey: &Survey) -> Section {
    let names = |list: Vec<&String>| {
        let mut names = list;
        names.sort_unstable();
        names.dedup();
        names.len()
    };
    let timed = names(survey.kernels.tests.iter().map(|test| &test.kernel).collect());
    let text = format!(
        "{timed} kernels returned the exact products and were timed, {} did not and were not. A kernel is bounded by the lower \
         of two roofs, probed in turn with it: what memory delivers times the multiply-adds that a byte of weights is good for \
         (four a token), and what its instruction set multiplies from registers.",
        survey.kernels.refused.len()
    );
    let mut tests: Vec<&KernelTest> = survey.kernels.tests.iter().collect();
    tests.sort_by_key(|test| test.threads);
    let head = vec![
        "kernel", "of roof", "matrix", "tokens", "threads", "GB/s", "GMAC/s", "MAC/byte", "roof", "noise",
    ];
    let rows = tests.into_iter().map(kernel_row);
    let table = Table { head, rows: rows.collect() };
    Section {
        heading: "Kernels",
        blocks: vec![Block::Text(text), Block::Plots(charts::rooflines(survey)), Block::Table(table)],
    }
}

fn kernel_row(test: &KernelTest) -> Vec<Cell> {
    let roof = match test.roof {
        Roof::Bandwidth => format!("{} GB/s", number(test.bandwidth / GIGA)),
        Roof::Peak => format!("{} GMAC/s", number(test.peak / GIGA)),
    };
    let mut row = vec![test.kernel.clone().into(), share(test.of_roof)];
    let numbers = [
        format!("{}x{}", test.rows, test.cols),
        test.tokens.to_string(),
        test.threads.to_string(),
        number(test.bytes_per_second.median / GIGA),
        number(test.macs.median / GIGA),
        format!("{:.0}", test.macs_per_byte),
        roof,
        format!("{:.3}", test.noise),
    ];
    row.extend(numbers.map(Cell::from));
    row
}

fn fixed_shapes(survey: &Survey) -> Section {
    let tests = &survey.kernels.tests;
    let twins =
        tests.iter().filter_map(|fixed| Some((fixed, tests.iter().find(|test| fixed.is_twin(test))?)));
    let rows: Vec<Vec<Cell>> = twins
        .map(|(fixed, generic)| {
            let cells = [
                fixed.kernel.clone(),
                fixed.tokens.to_string(),
                fixed.threads.to_string(),
                format!("{:+.1}%", 100.0 * (fixed.of_roof / generic.of_roof - 1.0)),
            ];
            let mut row: Vec<Cell> = cells.map(Cell::from).into();
            row.extend([share(fixed.of_roof), share(generic.of_roof)]);
            row.push(format!("{:.3}", fixed.noise.max(generic.noise)).into());
            row
        })
        .collect();
    let text = match rows.is_empty() {
        true => "None that runs on this CPU is linked.",
        false => {
            "What kernels that are made for a shape reach of their roof, and what the generic kernel with the same schedule reaches \
             of its own on that shape. Such kernels are linked where one gained 3% or more; most do on weights in a cache alone."
        }
    };
    let mut blocks = vec![Block::Text(text.to_owned())];
    if !rows.is_empty() {
        let head = vec!["kernel", "tokens", "threads", "gain", "of roof", "generic", "noise"];
        blocks.push(Block::Table(Table { head, rows }));
    }
    Section { heading: "Made for a shape, against generic", blocks }
}

fn precisions(survey: &Survey) -> Section {
    let report = &survey.precisions;
    let head = vec![
        "profile, head, keys and values",
        "decode tokens/s",
        "worst",
        "best",
        "MB/token",
        "of bandwidth",
        "prompt tokens/s",
        "head MB",
        "kB/position",
        "logits differ by",
    ];
    let rows = report.tests.iter().map(precision_row);
    let table = Table { head, rows: rows.collect() };
    let text = "The model in every precision, in turn. How far the largest difference of a logit from the profile exact is, is given \
                in standard deviations of the logits, after some tokens drawn at random; what it costs a text, perplexity says.";
    let mut blocks = vec![
        Block::Text(text.to_owned()),
        Block::Plots(charts::precisions(report).into_iter().collect()),
        Block::Table(table),
    ];
    blocks.extend(warnings(report.not_made.iter().map(|error| format!("Not made: {error}"))));
    Section { heading: "Head precisions and numerics profiles", blocks }
}

fn precision_row(test: &PrecisionTest) -> Vec<Cell> {
    let of = |kind: Kind| test.tests.iter().find(|test| test.kind == kind);
    let none = || Cell::from("-".to_owned());
    let mut row = vec![Cell::from(test.precision.to_string())];
    match of(Kind::Decode) {
        Some(decode) => {
            let rate = decode.tokens_per_second;
            row.extend([rate.median, rate.worst, rate.best].map(|rate| Cell::from(number(rate))));
            row.extend(read_cells(decode.read.as_ref()));
        }
        None => row.extend([none(), none(), none(), none(), none()]),
    }
    row.push(of(Kind::Prefill).map_or_else(none, |test| number(test.tokens_per_second.median).into()));
    row.extend(
        [
            number(test.head_bytes as f64 / MEGA),
            number(test.kv_bytes_per_position as f64 / 1e3),
            format!("{:.3}", test.logit_difference),
        ]
        .map(Cell::from),
    );
    row
}

/// MB that are read for a token, and their share of the bandwidth.
fn read_cells(read: Option<&Read>) -> [Cell; 2] {
    let Some(read) = read else { return ["-", "-"].map(|none| none.to_owned().into()) };
    let of_bandwidth = match read.cacheable {
        true => format!("{:.2}c", read.of_bandwidth).into(),
        false => share(read.of_bandwidth),
    };
    [number(read.bytes() / MEGA).into(), of_bandwidth]
}

fn speed(survey: &Survey) -> Section {
    let model = &survey.speed.model;
    let text = format!(
        "{:.1} M ternary multiply-adds a token; {:.1} MB of ternary weights, {:.1} MB of head, {:.1} kB of keys and values a \
         position.",
        model.ternary_macs as f64 / MEGA,
        model.ternary_bytes as f64 / MEGA,
        model.head_bytes as f64 / MEGA,
        model.kv_bytes_per_position as f64 / 1e3
    );
    let head = vec![
        "test",
        "threads",
        "tokens/s",
        "worst",
        "best",
        "GB/s",
        "MB/token",
        "of bandwidth",
        "GMAC/s",
        "of peak",
    ];
    let table = Table { head, rows: survey.speed.tests.iter().map(speed_row).collect() };
    let mut blocks = vec![Block::Text(text), Block::Plots(charts::speeds(survey)), Block::Table(table)];
    if survey.speed.tests.iter().filter_map(|test| test.read.as_ref()).any(|read| read.cacheable) {
        blocks.push(Block::Text(
            "c: a pass reads so little that it may come from caches, which are faster than what was probed."
                .to_owned(),
        ));
    }
    Section { heading: "Tokens a second", blocks }
}

fn speed_row(test: &Test) -> Vec<Cell> {
    let rate = test.tokens_per_second;
    let mut row: Vec<Cell> =
        [test.name(), test.threads.to_string(), number(rate.median), number(rate.worst), number(rate.best)]
            .map(Cell::from)
            .into();
    let bytes_per_second = test.read.as_ref().map(|read| number(read.bytes_per_second.median / GIGA));
    row.push(bytes_per_second.unwrap_or("-".to_owned()).into());
    row.extend(read_cells(test.read.as_ref()));
    row.push(number(test.ternary_macs.median / GIGA).into());
    row.push(share(test.of_peak));
    row
}

fn peers(peers: Option<&Peers>) -> Section {
    let heading = "Beside other programs";
    let Some(peers) = peers else {
        let text = "Not measured. These commands run other programs on the same models and take their figures up here:";
        let command =
            "python3 benches/peers/compare.py --help\ntritforge bench --report out --peers peers.json";
        return Section {
            heading,
            blocks: vec![Block::Text(text.to_owned()), Block::Command(command.to_owned())],
        };
    };
    let head = vec!["program", "model", "threads", "bits/weight", "prompt tokens/s", "decode tokens/s"];
    let rate = |rate: Option<PeerRate>| rate.map_or("-".to_owned(), |rate| number(rate.median));
    let rows = peers.runs.iter().map(|run| {
        let bits = run.bits_per_weight.map_or("-".to_owned(), number);
        let (threads, model) = (run.threads.to_string(), run.model.clone());
        let cells = [run.title(), model, threads, bits, rate(run.prefill), rate(run.decode)];
        cells.map(Cell::from).into()
    });
    let mut blocks =
        vec![Block::Plots(charts::peers(peers)), Block::Table(Table { head, rows: rows.collect() })];
    let errors = peers.runs.iter().filter_map(|run| Some((run, run.error.as_ref()?)));
    blocks.extend(warnings(
        errors.map(|(run, error)| format!("{} on {} was not measured: {error}", run.title(), run.model)),
    ));
    Section { heading, blocks }
}

fn method(survey: &Survey) -> Section {
    let text = format!(
        "Every figure is the median of several samples, taken in turn with probes of the machine; shares are shares of what was \
         probed in the same run. A share above {PLAUSIBLE} is marked ! and reported as a fault of the probe. Every kernel is \
         compared with naive products before it is timed. The instruction sets of this CPU: {}. The same again:",
        survey.cpu.isas.join(", ")
    );
    let command = "tritforge bench --report out".to_owned();
    Section { heading: "How it was measured", blocks: vec![Block::Text(text), Block::Command(command)] }
}

/// A share of what can be, marked where it is more.
fn share(share: f64) -> Cell {
    Cell { text: marked(share), share: Some(share) }
}
