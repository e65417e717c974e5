use super::lane::positions_read;
use super::*;
use crate::format::LoadOptions;

fn demo(engine: &Engine) -> Model {
    Model::from_raw(crate::demo::load(&LoadOptions::default()).unwrap(), engine).unwrap()
}

fn small() -> Options {
    Options {
        prompts: vec![5],
        decode: 3,
        depth: 2,
        repetitions: 2,
        probe_mib: LEAST_PROBE_MIB,
        ..Options::default()
    }
}

/// The positions that each token sees, counted one by one.
#[test]
fn positions_are_averaged_over_the_tokens() {
    for (depth, tokens) in [(0, 1), (0, 128), (512, 1), (512, 128), (7, 4)] {
        let seen: usize = (1..=tokens).map(|token| depth + token).sum();
        assert_eq!(positions_read(depth, tokens), seen as f64 / tokens as f64, "{depth} {tokens}");
    }
}

#[test]
fn every_test_on_every_engine_and_the_object_survives_json() {
    let engines = [Engine::with_threads(1).unwrap(), Engine::with_threads(2).unwrap()];
    let model = demo(&engines[0]);
    let options = Options { sequences: vec![1, 3], profile: true, ..small() };
    let report = run(&model, &engines, &options).unwrap();
    let tests: Vec<_> =
        report.tests.iter().map(|t| (t.threads, t.kind, t.sequences, t.tokens, t.depth)).collect();
    let of = |threads| {
        [
            (threads, Kind::Prefill, 1, 5, 0),
            (threads, Kind::Decode, 1, 3, 2),
            (threads, Kind::Decode, 3, 3, 2),
        ]
    };
    assert_eq!(tests, [of(1), of(2)].concat());
    assert_eq!(report.probes.iter().map(|p| p.threads).collect::<Vec<_>>(), [1, 2]);
    for test in &report.tests {
        let rate = test.tokens_per_second;
        assert!(rate.worst > 0.0 && rate.worst <= rate.median && rate.median <= rate.best);
        assert!(test.kernels.iter().any(|name| name.ends_with(&test.isa)));
        // What a token takes is what the parts take.
        let parts = test.breakdown.as_ref().unwrap();
        let seconds = parts.ternary + parts.attention + parts.head + parts.rest;
        assert!((seconds * rate.median - 1.0).abs() < 1e-9, "{parts:?}");
        assert!(parts.ternary > 0.0 && parts.attention > 0.0 && parts.head > 0.0);
    }
    // A mean of probes lies between the worst and the best of them, and so does what is held against it.
    for test in &report.tests {
        let probed = report.probes.iter().find(|probed| probed.threads == test.threads).unwrap();
        let peak = probed.peaks.iter().filter(|peak| peak.isa == test.isa).map(|peak| peak.macs);
        let (worst, best) = peak.fold((f64::INFINITY, 0f64), |(w, b), p| (w.min(p.worst), b.max(p.best)));
        assert!(
            test.ternary_macs.worst / best <= test.of_peak && test.of_peak <= test.ternary_macs.best / worst
        );
        let Some(read) = &test.read else { continue };
        let (rate, limit) = (read.bytes_per_second, probed.bandwidth);
        assert!(rate.worst / limit.best <= read.of_bandwidth && read.of_bandwidth <= rate.best / limit.worst);
    }
    // Three sequences share the weights, and each has a cache of its own: 2 + (3 + 1) / 2 positions.
    let (alone, shared) = (report.tests[1].read.as_ref().unwrap(), report.tests[2].read.as_ref().unwrap());
    assert_eq!(alone.ternary, model.ternary_bytes() as f64);
    assert_eq!((shared.ternary * 3.0).round(), alone.ternary);
    assert_eq!((shared.head * 3.0).round(), model.head_bytes() as f64);
    assert_eq!((alone.kv, shared.kv), (alone.kv, 4.0 * model.kv_bytes_per_position() as f64));
    // Not by way of text, whose numbers lose their last bit.
    let object = serde_json::to_value(&report).unwrap();
    assert_eq!(serde_json::from_value::<Report>(object).unwrap(), report);
}

#[test]
fn an_impossible_ratio_is_a_fault_of_the_probe_in_both_forms() {
    let engines = [Engine::with_threads(1).unwrap()];
    let model = demo(&engines[0]);
    let mut report = run(&model, &engines, &Options { prompts: vec![], ..small() }).unwrap();
    report.tests[0].of_peak = 0.5;
    // The demo model is so small that it is read from caches.
    assert!(report.tests[0].read.as_ref().unwrap().cacheable && report.to_string().contains("caches"));
    for (ratio, cacheable, faults) in [(1.02, false, 0), (1.03, false, 1), (1.03, true, 0)] {
        let read = report.tests[0].read.as_mut().unwrap();
        (read.of_bandwidth, read.cacheable) = (ratio, cacheable);
        report.find_probe_faults();
        assert_eq!(report.probe_faults.len(), faults, "{ratio}");
        assert_eq!(report.to_string().contains("fault of the probe"), faults > 0);
        assert_eq!(report.to_string().contains("1.03!"), faults > 0);
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let engines = [Engine::with_threads(1).unwrap()];
    let model = demo(&engines[0]);
    let error = |options: &Options| run(&model, &engines, options).unwrap_err().to_string();
    assert!(matches!(run(&model, &[], &small()), Err(BenchError::Nothing)));
    assert!(error(&Options { prompts: vec![], decode: 0, ..small() }).contains("nothing to measure"));
    for (options, parts) in [
        (Options { prompts: vec![8, 1025], ..small() }, ["the prompt takes 1025", "has 1024"]),
        (Options { depth: 1022, ..small() }, ["decoding takes 1025", "has 1024"]),
        (Options { depth: usize::MAX, ..small() }, ["decoding takes", "-d"]),
        (Options { prompts: vec![0], ..small() }, ["prompt is 0", "at least 1"]),
        (Options { repetitions: 0, ..small() }, ["repetitions", "at least 1"]),
        (Options { sequences: vec![2, 0], ..small() }, ["sequences", "at least 1"]),
        (Options { probe_mib: 1, ..small() }, ["MiB is 1", "at least 64"]),
    ] {
        let error = error(&options);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
