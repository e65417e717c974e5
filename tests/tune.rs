//! The search for schedules: it is interrupted and goes on, and makes a profile of what it measured. What is fastest is no
//! matter of tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kernelgen::tuned::{Class, TunedProfile};
use tempfile::tempdir;
use tritforge::cpu;
use tritforge::tune::search::search;
use tritforge::tune::{Control, Options, Progress, TuneError};

/// One small matrix, the portable kernels, and no more time than the least number of rounds takes.
fn options() -> Options {
    Options {
        shapes: vec![(64, 512)],
        threads: 1,
        isas: vec!["portable".to_owned()],
        seconds: 0.0,
        command: "a test".to_owned(),
    }
}

#[test]
fn an_interrupted_search_goes_on_and_makes_a_profile() {
    let folder = tempdir().expect("a folder for temporary files");
    let measured = folder.path().join("measured.json");
    // Ends when the first contest is over.
    let stop = AtomicBool::new(false);
    let first_is_over = |progress: Progress| {
        if progress.done == 1 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let control = Control { stop: &stop, progress: &first_is_over };
    let interrupted = search(&options(), folder.path(), false, control);
    assert!(matches!(interrupted, Err(TuneError::Interrupted)), "{interrupted:?}");
    let kept = std::fs::read_to_string(&measured).expect("what was measured");
    assert!(kept.contains("\"gemv\"") && !kept.contains("\"gemm4\""), "{kept}");

    // Other shapes are another search.
    let go = AtomicBool::new(false);
    let other = Options { shapes: vec![(64, 768)], ..options() };
    let refused = search(&other, folder.path(), true, Control { stop: &go, progress: &|_| {} });
    let error = refused.expect_err("another search's").to_string();
    assert!(error.contains("it is of other shapes; leave out --resume"), "{error}");

    let seen = Mutex::new(Vec::new());
    let note = |progress: Progress| seen.lock().expect("no panic").push(progress.done);
    let tuned =
        search(&options(), folder.path(), true, Control { stop: &go, progress: &note }).expect("a profile");
    let seen = seen.into_inner().expect("no panic");
    assert!(seen.first() == Some(&1) && seen.last() == Some(&2), "{seen:?}");
    let profile = &tuned.profile;
    assert_eq!(profile.cpu, cpu::identify());
    for operation in ["gemv", "gemm4"] {
        let kernel = profile.kernel("portable", operation, Class::Long).expect("a winner");
        assert!(kernel.cost > 0.0 && kernel.of_probe > 0.0 && kernel.regret["default"] > -0.5, "{kernel:?}");
        let contest = tuned.outcomes.iter().find(|outcome| outcome.operation == operation);
        let contest = contest.expect("its contest");
        assert!(contest.refused.is_empty(), "{contest:?}");
        // Four tokens leave the portable kernel one way.
        assert!(contest.ranked.len() > 2 || operation == "gemm4", "{contest:?}");
    }
    // What a file holds is what was found.
    let text = profile.to_toml().expect("TOML");
    assert_eq!(&TunedProfile::parse(&text).expect("a profile"), profile);
}
