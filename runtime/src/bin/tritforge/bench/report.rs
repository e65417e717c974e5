//! `tritforge bench --report`: everything that can be said of the machine and the model, in three files.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use tritforge::bench::survey::{Peers, survey, thread_counts};
use tritforge::kernels::DESCRIPTORS;
use tritforge::kernels::abi::Kernel;
use tritforge::model::Profile;

use super::Args;
use crate::{Outcome, progress};

/// Measures, and writes the files.
pub fn report(args: &Args, folder: &Path) -> Outcome {
    // What cannot be read or written is found out before anything is measured.
    let peers = args.peers.as_deref().map(Peers::read).transpose()?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let engines = args.engines(thread_counts)?;
    let packer = engines.last().ok_or("no number of threads")?;
    let model = args.model.pack(packer, &args.numerics, Profile::Fast)?;
    let mut options = args.survey_options();
    if args.prompt.is_empty() {
        options.speed.prompts.retain(|prompt| *prompt <= model.config.context);
    }
    let kernels: Vec<Kernel> = DESCRIPTORS.iter().filter_map(Kernel::new).collect();
    let (bar, mut show) = progress::steps("measuring");
    let mut survey = survey(&model, &engines, &kernels, &options, &mut show)?;
    bar.finish_and_clear();
    survey.peers = peers;
    let json = serde_json::to_string_pretty(&survey)? + "\n";
    let mut out = io::stdout().lock();
    for (name, text) in
        [("report.json", json), ("report.md", survey.markdown()), ("report.html", survey.html())]
    {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
