//! The report's HTML page in a real browser, headless: at the width of a desktop and of a phone it must render without an error,
//! with data in every plot, with text that can be read, and no wider than the window. Where there is no browser the trials
//! are counted as ignored.

mod browser;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tritforge::bench::survey::{PeerRate, PeerRun, Peers, Survey, SurveyOptions, survey};
use tritforge::demo;
use tritforge::engine::Engine;
use tritforge::format::LoadOptions;
use tritforge::kernels::DESCRIPTORS;
use tritforge::kernels::abi::Kernel;
use tritforge::model::Model;
use tritforge_tests::trials;

use browser::{Browser, Rendered};

/// Widths of the window: of a desktop and of a phone.
const WIDTHS: [u32; 2] = [1280, 390];
/// The least height of text that can be read, in pixels of a screen.
const LEAST_TEXT: f64 = 10.0;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let browser = Browser::find().map(Arc::new);
    let trials = WIDTHS.map(|width| {
        let name = format!("report::renders_at_{width}_pixels");
        match &browser {
            Some(browser) => {
                let browser = Arc::clone(browser);
                Trial::test(name, move || renders(&browser, width))
            }
            None => {
                let reason = format!("no browser: none of {} is on PATH", browser::NAMES.join(", "));
                trials::ignored(name, reason.clone(), reason)
            }
        }
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn renders(browser: &Browser, width: u32) -> Result<(), Failed> {
    let survey = small_survey()?;
    let page = survey.html();
    let rendered = browser.render(&page, width)?;
    let expected = page.matches("data-points=").count();
    // Two rooflines, four plots of tokens a second, and one of programs.
    if expected != 7 {
        return Err(format!("{expected} plots on the page").into());
    }
    check(&rendered, expected).map_err(|fault| format!("{width} pixels wide: {fault}; {rendered:?}").into())
}

fn check(rendered: &Rendered, plots: usize) -> Result<(), String> {
    let Rendered { console, window_width, document_width, least_text, plots: found, picture } = rendered;
    if !console.is_empty() {
        return Err(format!("the console says {console:?}"));
    }
    if document_width > window_width {
        return Err(format!("the document is {document_width} wide, the window {window_width}"));
    }
    if *least_text < LEAST_TEXT {
        return Err(format!("text of {least_text} pixels"));
    }
    if found.len() != plots {
        return Err(format!("{} plots of {plots} are rendered", found.len()));
    }
    if let Some(plot) = found.iter().find(|plot| plot.claimed == 0 || plot.visible != plot.claimed) {
        return Err(format!("'{}' shows {} of {} points", plot.title, plot.visible, plot.claimed));
    }
    // An empty page compresses to a few bytes for a thousand pixels.
    if picture.bytes_for_1000_pixels < 20 || f64::from(picture.width) != *window_width {
        return Err(format!("the screenshot is empty, or of another width: {picture:?}"));
    }
    Ok(())
}

/// Everything once, with a comparison beside it.
fn small_survey() -> Result<Survey, Failed> {
    let engines = [Engine::with_threads(1)?, Engine::with_threads(2)?];
    let model = Model::from_raw(demo::load(&LoadOptions::default())?, &engines[0])?;
    let kernels: Vec<Kernel> = DESCRIPTORS.iter().filter_map(Kernel::new).collect();
    let mut options = SurveyOptions::default().quick();
    options.speed.prompts = vec![2, 8, 16];
    options.speed.sequences = vec![1, 2];
    options.speed.decode = 2;
    let mut survey = survey(&model, &engines, &kernels, &options, &mut |_| ())?;
    let run = |engine: &str, median: f64| PeerRun {
        model: "a model".to_owned(),
        threads: 2,
        engine: engine.to_owned(),
        weight_type: Some("I2_S".to_owned()),
        bits_per_weight: Some(2.0),
        prefill: None,
        decode: Some(PeerRate { median, min: 0.9 * median, max: 1.1 * median }),
        error: None,
    };
    let runs = vec![run("tritforge", 41.1), run("another program of a long name", 20.5)];
    survey.peers = Some(Peers { version: 1, cpu: "a CPU".into(), runs });
    Ok(survey)
}
