use super::*;
use crate::bench::planted;
use crate::probe::MIB;
use crate::probe::PLAUSIBLE;

const TINY: Effort = Effort { window: MIB / 4, sample_macs: 1, rounds: 1, prompt: 8 };

fn memory() -> WeightMemory {
    WeightMemory::new(4 * MIB)
}

#[test]
fn a_broken_kernel_is_refused_and_the_others_are_timed() {
    let engines = [Engine::with_threads(1).unwrap(), Engine::with_threads(2).unwrap()];
    let kernels = [planted::broken(), planted::sound()];
    let mut ticks = 0;
    let report = measure(&kernels, &engines, &memory(), TINY, &mut || ticks += 1);
    assert_eq!(ticks, steps(&kernels, &engines, TINY));
    let [refused] = &report.refused[..] else { panic!("{:?}", report.refused) };
    assert_eq!(refused.kernel, planted::broken().descriptor().name);
    assert!(refused.reason.contains("the exact product is"), "{refused:?}");
    // It has no time at all.
    let timed: Vec<_> = report.tests.iter().map(|test| (&test.kernel[..], test.threads)).collect();
    let sound = planted::sound().descriptor().name;
    assert_eq!(timed, [(sound, 1), (sound, 2)]);
}

#[test]
fn every_linked_kernel_is_measured_as_a_batch_or_a_prompt_or_both() {
    let kernels: Vec<Kernel> = crate::kernels::DESCRIPTORS.iter().filter_map(Kernel::new).collect();
    let cases = Case::all(&kernels, &[(48, 64)], 10);
    for kernel in &kernels {
        let d = kernel.descriptor();
        let tokens: Vec<usize> =
            cases.iter().filter(|c| c.kernel.descriptor().name == d.name).map(|c| c.tokens).collect();
        let prompt = 10usize.next_multiple_of(d.tokens);
        match d.tokens {
            1 => assert_eq!(tokens, [1]),
            2..=8 => assert_eq!(tokens, [d.tokens, prompt]),
            _ => assert!(tokens.iter().all(|tokens| *tokens > d.tokens), "{tokens:?}"),
        }
    }
    let (memory, engine) = (memory(), Engine::with_threads(2).unwrap());
    let mut bench = KernelBench::new(&memory, TINY);
    for case in &cases {
        let test = bench.measure(case, &engine).unwrap();
        assert_eq!(test.is_prompt(), !case.is_streamed(), "{test:?}");
        assert!(test.of_roof > 0.0 && test.of_roof.is_finite() && test.macs.median > 0.0, "{test:?}");
        // Four trits a byte, and each is multiplied with every token.
        assert_eq!(test.macs_per_byte, 4.0 * test.tokens as f64);
        let reached = test.macs.median / (test.bandwidth * test.macs_per_byte).min(test.peak);
        assert!((test.of_roof - reached).abs() < 1e-9 * reached, "{test:?}");
    }
}

/// Every kernel of fixed shape that runs here, on one and on several tokens, has its generic twin measured.
#[test]
fn a_kernel_of_fixed_shape_is_measured_beside_the_generic_one() {
    let kernels: Vec<Kernel> = crate::kernels::DESCRIPTORS.iter().filter_map(Kernel::new).collect();
    let cases = cases(&kernels, 8);
    let fixed: Vec<&Case> = cases.iter().filter(|case| case.kernel.descriptor().shape.is_some()).collect();
    for case in &fixed {
        let d = case.kernel.descriptor();
        let twins = cases.iter().filter(|twin| {
            let g = twin.kernel.descriptor();
            g.shape.is_none()
                && (g.isa.id, g.schedule, g.tokens) == (d.isa.id, d.schedule, d.tokens)
                && (twin.rows, twin.cols, twin.tokens) == (case.rows, case.cols, case.tokens)
        });
        assert_eq!(twins.count(), 1, "{}", d.name);
    }
    let (memory, engine) = (memory(), Engine::with_threads(1).unwrap());
    let mut bench = KernelBench::new(&memory, TINY);
    let mut test = bench.measure(&Case::all(&[planted::sound()], &[(64, 64)], 1)[0], &engine).unwrap();
    let generic = test.clone();
    test.is_fixed = true;
    assert!(test.is_twin(&generic) && !generic.is_twin(&test) && !test.is_twin(&test));
    for other in [KernelTest { cols: 48, ..generic.clone() }, KernelTest { threads: 2, ..generic }] {
        assert!(!test.is_twin(&other));
    }
}

#[test]
fn a_ratio_above_what_is_possible_is_a_fault_of_the_probe() {
    let (memory, engine) = (memory(), Engine::with_threads(1).unwrap());
    let case = Case::all(&[planted::sound()], &[(64, 64)], 1)[0];
    let test = KernelBench::new(&memory, TINY).measure(&case, &engine).unwrap();
    for (of_roof, faults) in [(0.5, 0), (PLAUSIBLE, 0), (1.03, 1)] {
        let tests = vec![KernelTest { of_roof, ..test.clone() }];
        let mut report = KernelReport { tests, ..KernelReport::default() };
        report.find_probe_faults();
        assert_eq!(report.probe_faults.len(), faults, "{of_roof}");
        assert!(report.probe_faults.iter().all(|fault| fault.contains("1.03 of the probed")));
    }
}
