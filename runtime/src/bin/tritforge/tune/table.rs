//! What tuning found, as a table.

use std::io::{self, Write};

use tritforge::probe::{PLAUSIBLE, marked};
use tritforge::tune::Tuned;
use tritforge::tune::arena::Place;
use tritforge::tune::outcome::{Outcome, Ranked, schedule};

/// A line for each operation, instruction set and place: the default schedule, the tuned one, and what that gains.
pub fn print(tuned: &Tuned, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "this CPU: {}", tuned.profile.cpu)?;
    writeln!(out, "one thread reads {:.1} GB/s at best\n", tuned.probe)?;
    writeln!(
        out,
        "{:<20} {:>11} {:>7} {:>24} {:>8} {:>24} {:>8} {:>6} {:>5}",
        "kernel", "shape", "threads", "default", "of probe", "tuned", "of probe", "gain", "noise"
    )?;
    for outcome in &tuned.outcomes {
        let (Some(winner), Some(default)) = (outcome.ranked.first(), outcome.kernel(&outcome.default)) else {
            continue;
        };
        for (index, place) in outcome.places.iter().enumerate() {
            line(outcome, index, place, winner, default, out)?;
        }
    }
    let faults =
        tuned.outcomes.iter().flat_map(|outcome| &outcome.ranked).flat_map(|kernel| &kernel.of_probe);
    if faults.into_iter().any(|ratio| *ratio > PLAUSIBLE) {
        writeln!(out, "! above {PLAUSIBLE}: a fault of the probe, for nothing is faster than the machine")?;
    }
    let settings = tuned.profile.settings;
    let or_default =
        |value: Option<usize>| value.map_or_else(|| "default".to_owned(), |value| value.to_string());
    writeln!(
        out,
        "\nthreads {}; KiB of a stream at a time {}; KiB of a chunk for all tokens {}; streams of the output head {}",
        or_default(settings.threads),
        or_default(settings.stream_kib),
        or_default(settings.chunk_kib),
        or_default(settings.head_streams)
    )?;
    let heads: Vec<String> = tuned
        .heads
        .iter()
        .map(|head| {
            format!("{} {:.2} ms ({:.1} GB/s)", head.format, head.milliseconds, head.bytes_per_second / 1e9)
        })
        .collect();
    writeln!(out, "output head, a token and 100,000 rows of 2560 columns: {}", heads.join(", "))?;
    writeln!(
        out,
        "(its precision is for you to choose, with --head: unlike all else here it changes results)"
    )
}

fn line(
    outcome: &Outcome,
    index: usize,
    place: &Place,
    winner: &Ranked,
    default: &Ranked,
    out: &mut impl Write,
) -> io::Result<()> {
    let of_probe = |kernel: &Ranked| marked(kernel.of_probe[index]);
    let tuned = if winner.name == default.name { "the same" } else { schedule(&winner.name) };
    writeln!(
        out,
        "{:<20} {:>11} {:>7} {:>24} {:>8} {:>24} {:>8} {:>5.1}% {:>4.1}%",
        format!("{} {}", outcome.isa, outcome.operation),
        format!("{}x{}", place.rows, place.cols),
        place.threads,
        schedule(&default.name),
        of_probe(default),
        tuned,
        of_probe(winner),
        (winner.relative[index] - 1.0) * 100.0,
        winner.noise * 100.0,
    )
}
