use std::path::Path;

use super::*;
use crate::bench::kernels::{Case, Effort};
use crate::bench::planted;
use crate::bench::survey::SurveyOptions;
use crate::engine::Engine;
use crate::format::LoadOptions;
use crate::kernels::abi::Kernel;
use crate::model::Model;
use crate::probe::MIB;
use crate::probe::memory::WeightMemory;

fn readings<const N: usize>(of: [(&str, f64); N]) -> BTreeMap<String, Reading> {
    of.map(|(key, ratio)| (key.to_owned(), Reading { ratio, unbounded: key == "cached" })).into()
}

fn recorded<const N: usize>(of: [(&str, f64, f64); N]) -> BTreeMap<String, Recorded> {
    of.map(|(key, ratio, noise)| (key.to_owned(), Recorded { ratio, noise })).into()
}

#[test]
fn a_ratio_may_fall_by_twice_its_noise_and_six_per_cent_at_least() {
    let recorded = recorded([("noisy", 0.8, 0.10), ("steady", 0.8, 0.001)]);
    for (noisy, steady, fallen) in [
        (0.8, 0.8, ""),
        (0.65, 0.76, ""),
        (0.9, 0.74, "steady"),
        (0.63, 0.9, "noisy"),
        // A kernel that computes everything twice.
        (0.4, 0.4, "noisy steady"),
        (f64::NAN, 0.8, "noisy"),
    ] {
        let verdict = Verdict::new(&recorded, &readings([("noisy", noisy), ("steady", steady)]));
        let keys: Vec<&str> = verdict.fallen().map(|row| &row.key[..]).collect();
        assert_eq!(keys.join(" "), fallen);
        let (text, result) = (verdict.to_string(), verdict.result());
        assert_eq!(text.contains("  fell"), !fallen.is_empty(), "{text}");
        match result {
            Ok(()) => assert_eq!(fallen, ""),
            Err(error) => {
                let error = error.to_string();
                assert!(keys.iter().all(|key| error.contains(&format!("{key} was 0.80, is"))), "{error}");
            }
        }
    }
}

#[test]
fn what_halves_has_fallen_however_noisy_it_was() {
    let recorded = recorded([("wild", 0.3, 0.8)]);
    for (now, fallen) in [(0.16, 0), (0.14, 1)] {
        assert_eq!(Verdict::new(&recorded, &readings([("wild", now)])).fallen().count(), fallen);
    }
}

#[test]
fn more_than_is_possible_is_a_fault_of_the_probe() {
    let recorded = recorded([("memory", 0.9, 0.01), ("cached", 1.4, 0.01)]);
    for (memory, faults) in [(1.02, 0), (1.03, 1)] {
        let verdict = Verdict::new(&recorded, &readings([("memory", memory), ("cached", 1.5)]));
        assert_eq!(verdict.probe_faults().len(), faults, "{memory}");
        assert_eq!(verdict.to_string().contains("fault of the probe: memory: 1.03"), faults == 1);
        assert!(verdict.result().is_ok());
    }
}

#[test]
fn what_was_recorded_must_be_measured_and_what_is_new_is_named() {
    let verdict = Verdict::new(&recorded([("old", 0.9, 0.01)]), &readings([("fresh", 0.9)]));
    assert!(verdict.to_string().contains("fresh is not recorded"));
    let error = verdict.result().unwrap_err().to_string();
    assert!(
        error.contains("not of what is selected here (old)") && error.contains("record again"),
        "{error}"
    );
}

#[test]
fn a_recorded_ratio_is_the_median_and_half_the_spread() {
    assert_eq!(Recorded::of(vec![0.88, 0.80, 0.84, 0.78, 0.82]), Recorded { ratio: 0.82, noise: 0.061 });
    assert_eq!(Recorded::of(vec![0.5]), Recorded { ratio: 0.5, noise: 0.0 });
}

/// Everything that a gauge borrows.
struct Bench {
    engines: [Engine; 1],
    model: Model,
    memory: WeightMemory,
    options: SurveyOptions,
}

impl Bench {
    fn new() -> Self {
        let engines = [Engine::with_threads(1).unwrap()];
        let model =
            Model::from_raw(crate::demo::load(&LoadOptions::default()).unwrap(), &engines[0]).unwrap();
        let effort = Effort { window: MIB, sample_macs: 1, rounds: 5, prompt: 8 };
        let options = SurveyOptions { effort, ..SurveyOptions::default().quick() };
        Bench { engines, model, memory: WeightMemory::new(64 * MIB), options }
    }

    fn gauge(&self, kernel: Kernel) -> Gauge<'_> {
        let cases = Case::all(&[kernel], &[(640, 640)], 8);
        Gauge::new(&self.model, &self.engines, cases, &self.memory, &self.options)
    }
}

#[test]
fn a_slowed_kernel_is_caught_and_a_broken_one_ends_the_check() {
    let bench = Bench::new();
    let mut entry = record(&mut bench.gauge(planted::sound()), 3, &mut |_| ()).unwrap();
    let keys: Vec<&String> = entry.ratios.keys().collect();
    let kernel = "gemv__portable@640x640@tokens=1@threads=1";
    let name = &bench.model.config.name;
    let of_model = ["decode", "prefill"].map(|kind| format!("{kind}__{name}@tokens=256@threads=1"));
    assert_eq!(keys, [&of_model[0], kernel, &of_model[1]]);

    // Of the kernel alone, and without the noise of a machine that tests share.
    entry.ratios.retain(|key, _| key == kernel);
    entry.ratios.values_mut().for_each(|recorded| recorded.noise = 0.25);
    let mut steps = Vec::new();
    let slowed =
        check(&mut bench.gauge(planted::slowed()), &entry.ratios, &mut |step| steps.push(step)).unwrap();
    assert_eq!(slowed.fallen().map(|row| &row.key[..]).collect::<Vec<_>>(), [kernel]);
    assert!(slowed.result().unwrap_err().to_string().contains("fell by more than their noise"));
    // The first pass, and the kernel twice again.
    assert!(steps.len() > bench.gauge(planted::slowed()).steps() + 1);
    assert!(steps.iter().all(|step| step.done <= step.total));

    let broken = check(&mut bench.gauge(planted::broken()), &entry.ratios, &mut |_| ()).unwrap_err();
    assert!(broken.to_string().contains("is not exact"), "{broken}");
}

#[test]
fn an_entry_replaces_that_of_its_cpu_alone() {
    let entry = |model: &str, date: &str| {
        let mut cpu = identify();
        if !model.is_empty() {
            cpu.model = model.to_owned();
        }
        let (commit, date) = ("abc".to_owned(), date.to_owned());
        Entry { cpu, threads: vec![1], date, commit, passes: 1, ratios: recorded([("a", 0.5, 0.1)]) }
    };
    let (file, mut baseline) = (tempfile::NamedTempFile::new().unwrap(), Baseline::default());
    let no_entry = baseline.entry(Path::new("b.json")).unwrap_err().to_string();
    assert!(
        no_entry.contains("b.json has no ratios of this CPU") && no_entry.contains("--record"),
        "{no_entry}"
    );
    for entry in [entry("another", "1"), entry("", "2"), entry("", "3")] {
        baseline.replace(entry);
    }
    baseline.write(file.path()).unwrap();
    let read = Baseline::read(file.path()).unwrap();
    assert_eq!((read.cpus.len(), &read), (2, &baseline));
    assert_eq!(read.entry(file.path()).unwrap().date, "3");

    for (text, part) in [("{", "no baseline"), ("{\"version\": 9, \"cpus\": [{\"a\": 1}]}", "version 9")] {
        std::fs::write(file.path(), text).unwrap();
        let error = Baseline::read_or_new(file.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(matches!(Baseline::read(Path::new("no/such/file")), Err(GuardError::Io { .. })));
    assert_eq!(Baseline::read_or_new(Path::new("no/such/file")).unwrap(), Baseline::default());
}

#[test]
fn every_linked_model_is_guarded() {
    let engine = Engine::with_threads(1).unwrap();
    let cases = selected(&engine, 64).unwrap();
    for model in crate::kernels::MODELS {
        let largest = model.matrices.iter().map(|matrix| matrix.rows * matrix.cols).max().unwrap();
        assert!(cases.iter().any(|case| case.rows * case.cols == largest && case.tokens == 1));
    }
}
