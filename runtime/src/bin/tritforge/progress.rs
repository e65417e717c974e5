//! Bars on a terminal's stderr: while a model is loaded, if that takes longer than a second, and while something is measured.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tritforge::bench::Progress;
use tritforge::engine::Engine;
use tritforge::format::RawModel;
use tritforge::model::{LoadProgress, Model, ModelError, ProfileOptions};

/// Loading that is over by then shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Packs a model for a profile. `since` is when loading began.
pub fn pack(
    raw: RawModel,
    engine: &Engine,
    options: ProfileOptions,
    since: Instant,
) -> Result<Model, ModelError> {
    let bar = OnceLock::new();
    let terminal = io::stderr().is_terminal();
    let show = |progress: LoadProgress| {
        if terminal && since.elapsed() >= PATIENCE {
            let new = || self::bar(progress.total, "loading {bar:40} {bytes} of {total_bytes}");
            bar.get_or_init(new).set_position(progress.done);
        }
    };
    let model = Model::with_options(raw, engine, options, &show);
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    model
}

/// A bar of so many steps, which is nowhere to be seen where stderr is no terminal.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A bar over the steps of a measurement, and what moves it.
pub fn steps(what: &'static str) -> (ProgressBar, impl FnMut(Progress)) {
    let bar = bar(1, "{msg} {bar:40} {pos} of {len}, {eta} left").with_message(what);
    let shown = bar.clone();
    let show = move |Progress { done, total }: Progress| {
        shown.set_length(total as u64);
        shown.set_position(done as u64);
    };
    (bar, show)
}
