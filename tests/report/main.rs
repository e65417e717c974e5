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

/// The fewest bytes that a compressed picture of some text has for a thousand pixels; of an empty page it is 8.
const LEAST_PICTURE: u64 = 12;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let browser = Browser::find().map(Arc::new);
    let trial = |name: String, run: fn(&Browser, u32) -> Result<(), Failed>, width: u32| match &browser {
        Some(browser) => {
            let browser = Arc::clone(browser);
            Trial::test(name, move || run(&browser, width))
        }
        None => {
            let reason = format!("no browser: none of {} is on PATH", browser::NAMES.join(", "));
            trials::ignored(name, reason.clone(), reason)
        }
    };
    let mut trials: Vec<Trial> =
        WIDTHS.map(|width| trial(format!("report::renders_at_{width}_pixels"), renders, width)).into();
    trials.push(trial("report::faults_of_a_page_are_seen".to_owned(), faults, WIDTHS[1]));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn renders(browser: &Browser, width: u32) -> Result<(), Failed> {
    let page = small_survey()?.html();
    let rendered = browser.render(&page, width)?;
    let expected = page.matches("data-points=").count();
    // Two rooflines, four plots of tokens a second, one of precisions, and one of programs.
    if expected != 8 {
        return Err(format!("{expected} plots on the page").into());
    }
    check(&rendered, expected).map_err(|fault| format!("{width} pixels wide: {fault}; {rendered:?}").into())
}

/// Each check of a page fails where it should.
fn faults(browser: &Browser, width: u32) -> Result<(), Failed> {
    let point = "<path class='point' d='M1 1h8v8z'/>";
    let plot = |style: &str, claimed: u32, inside: &str| {
        let svg = format!("<svg data-points='{claimed}' aria-label='a' viewBox='0 0 100 100'>{inside}</svg>");
        format!(
            "<body style='margin:0'><p>{}</p><div style='{style}'>{svg}</div></body>",
            "text ".repeat(500)
        )
    };
    let text = "<text y='50'>small</text>";
    for (page, fault) in [
        (plot("", 1, point), None),
        (plot("", 1, point) + "<script>console.error('fault')</script>", Some("console")),
        (plot("", 1, point) + "<script>fault()</script>", Some("console")),
        (plot("width:400px", 1, point), Some("wide")),
        (plot("width:50px", 1, &format!("{point}{text}")), Some("text of")),
        (plot("", 0, ""), Some("0 of 0 points")),
        (plot("", 2, point), Some("1 of 2 points")),
        (plot("", 1, "<path class='point' d='M110 1h8v8z'/>"), Some("0 of 1 points")),
        (plot("", 1, "<path class='point' d=''/>"), Some("0 of 1 points")),
        (plot("display:none", 1, point), Some("0 of 1 points")),
        ("<p>text".to_owned(), Some("0 plots of 1")),
    ] {
        let found = check(&browser.render(&page, width)?, 1).err();
        let is_as_expected = match fault {
            Some(fault) => found.as_ref().is_some_and(|found| found.contains(fault)),
            None => found.is_none(),
        };
        if !is_as_expected {
            return Err(format!("{found:?} is found, not {fault:?}, in {page}").into());
        }
    }
    Ok(())
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
    if picture.bytes_for_1000_pixels < LEAST_PICTURE || f64::from(picture.width) != *window_width {
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
