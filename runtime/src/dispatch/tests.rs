//! The choice among made-up instruction sets, some of which lie.

use super::*;
use crate::kernels::abi::{Descriptor, Gain, Operands};
use crate::packed::Scales;
use crate::product::run_all;
use crate::team::Team;

const fn level(id: &'static str, rank: u32) -> IsaInfo {
    IsaInfo { id, rank, features: &[], available: || true }
}

static PORTABLE: IsaInfo = level("portable", 0);
static RIGHT: IsaInfo = level("right", 10);
static WRONG: IsaInfo = level("wrong", 20);
static SLY: IsaInfo = level("sly", 30);
static COSTLY: IsaInfo = level("costly", 35);
#[cfg(unix)]
static DYING: IsaInfo = level("dying", 40);

/// The portable kernel of the operation, which the made-up ones call.
///
/// # Safety
/// That of the kernel.
unsafe extern "C" fn exact<const TOKENS: usize>(p: &Operands) {
    let portable = DESCRIPTORS.iter().find(|d| d.isa.rank == 0 && d.shape.is_none() && d.tokens == TOKENS);
    // SAFETY: the portable kernel needs no feature, and the caller promises the rest.
    unsafe { (portable.expect("a portable kernel").entry)(p) }
}

/// The products of four tokens with expanded weights.
///
/// # Safety
/// That of the kernel.
unsafe extern "C" fn from_codes(p: &Operands) {
    for tile in p.first_tile..p.end_tile {
        for (token, row) in
            (0..4).flat_map(|token| (0..p.rows_in(tile) as usize).map(move |row| (token, row)))
        {
            // SAFETY: the caller promises the operands; these are some of them.
            unsafe {
                let product = |col: usize| {
                    let field = (tile * p.k_atoms + col / 16) * 4 + col % 16 / 4;
                    let code = *p.weights.add(64 * field + 4 * row + col % 4);
                    i32::from(code) * i32::from(*p.acts.add(token * p.act_stride + col))
                };
                let sum: i32 = (0..16 * p.k_atoms).map(product).sum();
                let place = token * p.out_stride + (tile - p.first_tile) * TILE_ROWS + row;
                *p.out.add(place) = sum - *p.act_sums.add(token);
            }
        }
    }
}

/// One sum is off by one.
///
/// # Safety
/// That of the kernel.
unsafe extern "C" fn off_by_one(p: &Operands) {
    // SAFETY: the caller promises it; the first sum of the tiles is always there.
    unsafe {
        exact::<1>(p);
        *p.out += 1;
    }
}

/// Right about matrices of the trial's size, wrong about larger ones.
///
/// # Safety
/// That of the kernel.
unsafe extern "C" fn deceive(p: &Operands) {
    // SAFETY: the caller promises it.
    unsafe { if p.rows > 32 { off_by_one(p) } else { exact::<1>(p) } }
}

/// What an instruction does that the CPU lacks.
///
/// # Safety
/// None is needed.
#[cfg(unix)]
unsafe extern "C" fn die(_: &Operands) {
    // SAFETY: the signal ends the process, which is a copy.
    unsafe { libc::raise(libc::SIGILL) };
}

const fn made_up(
    name: &'static str,
    tokens: usize,
    shape: Option<(usize, usize)>,
    cost: f64,
    isa: &'static IsaInfo,
    entry: unsafe extern "C" fn(&Operands),
) -> Descriptor {
    Descriptor {
        name,
        operation: "made up",
        tokens,
        streams: 1,
        interleaved: None,
        expanded: None,
        layout: "i2a16",
        shape,
        schedule: "",
        isa,
        k_max: 4096,
        proof: &[],
        registers: 0,
        cycles_per_256_weights: cost,
        gain: Gain { short: None, long: None },
        standard: true,
        entry,
    }
}

static KERNELS: &[Descriptor] = &[
    made_up("portable1", 1, None, 100.0, &PORTABLE, exact::<1>),
    made_up("portable4", 4, None, 300.0, &PORTABLE, exact::<4>),
    made_up("right1", 1, None, 10.0, &RIGHT, exact::<1>),
    made_up("right1_48x64", 1, Some((48, 64)), 20.0, &RIGHT, exact::<1>),
    made_up("right4", 4, None, 32.0, &RIGHT, exact::<4>),
    Descriptor {
        expanded: Some([0, 2, 4, 6]),
        standard: false,
        ..made_up("right4_expanded", 4, None, 1.0, &RIGHT, from_codes)
    },
    made_up("wrong1", 1, None, 1.0, &WRONG, off_by_one),
    made_up("sly1", 1, None, 5.0, &SLY, deceive),
    made_up("costly1", 1, None, 50.0, &COSTLY, exact::<1>),
    #[cfg(unix)]
    made_up("dying1", 1, None, 2.0, &DYING, die),
];

/// All that is made up, tried as real kernels are.
fn tried(isa: &'static IsaInfo) -> Dispatch {
    of(isa, false)
}

fn of(isa: &'static IsaInfo, asked_for: bool) -> Dispatch {
    let levels: &[&'static IsaInfo] = &[
        &PORTABLE,
        &RIGHT,
        &WRONG,
        &SLY,
        &COSTLY,
        #[cfg(unix)]
        &DYING,
    ];
    Dispatch::of(isa, asked_for, levels, KERNELS, |level, kernels| try_level(level.id, kernels, None))
}

fn name(kernel: Option<Kernel>) -> &'static str {
    kernel.map_or("none", |kernel| kernel.descriptor().name)
}

fn names(plan: &[Kernel]) -> Vec<&'static str> {
    plan.iter().map(|kernel| kernel.descriptor().name).collect()
}

fn weights(rows: usize, cols: usize) -> PackedTernaryWeights {
    PackedTernaryWeights::from_rows(rows, cols, Scales::PerTensor(1.0), |row, trits| {
        trits.iter_mut().enumerate().for_each(|(col, t)| *t = ((row * 5 + col * 3) % 3) as i8 - 1);
        Ok::<(), std::fmt::Error>(())
    })
    .expect("trits")
}

#[test]
fn levels_that_fail_their_trial_are_left_out_with_a_warning() {
    let dispatch = tried(&SLY);
    // The sly one passes the trial; the wrong one, which costs least, does not.
    assert_eq!(dispatch.isa().id, "sly");
    assert_eq!(name(dispatch.kernel(21, 64, 1)), "sly1");
    let faults = dispatch.faults();
    assert_eq!(faults, [Fault { subject: "wrong", finding: Finding::Wrong }]);
    assert_eq!(
        faults[0].to_string(),
        "wrong disagrees with the portable one on this CPU; the next best is used instead"
    );
}

#[cfg(unix)]
#[test]
fn a_level_that_dies_in_its_trial_is_left_out_with_a_warning() {
    let dispatch = tried(&DYING);
    assert_eq!(dispatch.isa().id, "costly");
    let fault = Fault { subject: "dying", finding: Finding::Died { signal: Some(libc::SIGILL) } };
    assert!(dispatch.faults().contains(&fault), "{:?}", dispatch.faults());
    assert!(fault.to_string().contains("a trial died of signal 4"), "{fault}");
}

#[test]
fn a_kernel_that_is_wrong_about_real_rows_is_replaced_by_the_next() {
    let dispatch = tried(&SLY);
    let weights = weights(48, 64);
    assert_eq!(name(dispatch.kernel(48, 64, 1)), "sly1");
    dispatch.check(&weights, &dispatch.trial_activations(weights.cols()));
    assert_eq!(name(dispatch.kernel(48, 64, 1)), "right1_48x64");
    assert_eq!(name(dispatch.kernel(21, 64, 1)), "right1");
    let fault = Fault { subject: "sly1", finding: Finding::Wrong };
    assert_eq!(dispatch.faults().last(), Some(&fault));
    // Once is enough.
    dispatch.check(&weights, &dispatch.trial_activations(weights.cols()));
    assert_eq!(dispatch.faults().len(), 2);
    // And the products are right.
    let x = QuantizedActivations::quantize(64, &[1.0; 64]);
    let mut y = vec![f32::NAN; 48];
    let product = dispatch.product(&weights, &x, &mut y).expect("operands that fit");
    run_all(&Team::solo(), &[product]).expect("kernels that take them");
    let sum = |row: usize| (0..64).map(|col| ((row * 5 + col * 3) % 3) as f32 - 1.0).sum::<f32>();
    for (row, y) in y.iter().enumerate() {
        assert!((y - sum(row)).abs() < 1e-3, "row {row}: {y}");
    }
}

#[test]
fn the_least_cost_decides_and_then_the_shape() {
    let dispatch = tried(&RIGHT);
    // The kernel for the shape counts as the level's, whatever its own cost.
    assert_eq!(name(dispatch.kernel(48, 64, 1)), "right1_48x64");
    assert_eq!(name(dispatch.kernel(48, 65, 1)), "right1");
    // Rows that no kernel is proven for.
    assert_eq!(name(dispatch.kernel(48, 4097, 1)), "none");
    let error = dispatch.plan(48, 4097, 1).expect_err("no kernel").to_string();
    assert_eq!(error, "every kernel: 4097 columns could overflow its sums; at most 4096 are proven not to");
    assert_eq!(names(&dispatch.levels(1, 1, 4)), ["right4", "portable4"]);
    assert_eq!(name(tried(&PORTABLE).kernel(48, 64, 1)), "portable1");
}

#[test]
fn what_is_asked_for_is_used_whatever_it_costs() {
    assert_eq!(name(tried(&COSTLY).kernel(21, 64, 1)), "sly1");
    assert_eq!(name(of(&COSTLY, true).kernel(21, 64, 1)), "costly1");
    // It has no kernel for four tokens.
    assert_eq!(name(of(&COSTLY, true).kernel(21, 64, 4)), "right4");
    // Nothing is left of a level that does not work.
    assert_eq!(name(of(&WRONG, true).kernel(21, 64, 1)), "right1");
}

#[test]
fn weights_are_expanded_for_many_tokens_and_by_kernels_that_work() {
    let dispatch = tried(&RIGHT);
    assert_eq!(name(dispatch.kernel(1, 1, 4)), "right4");
    assert_eq!(names(&dispatch.plan(1, 1, 44).expect("a plan")), ["right4"; 11]);
    let plan = dispatch.plan(48, 64, 49).expect("a plan");
    let expected = ["right4_expanded"; 12].into_iter().chain(["right1_48x64"]);
    assert_eq!(names(&plan), expected.collect::<Vec<_>>());

    let weights = weights(48, 64);
    let values: Vec<f32> = (0..49 * 64).map(|i| (i % 29) as f32 - 14.0).collect();
    let x = QuantizedActivations::quantize(64, &values);
    let results = |dispatch: &Dispatch| {
        let mut y = vec![f32::NAN; 49 * 48];
        let product = dispatch.product(&weights, &x, &mut y).expect("operands that fit");
        run_all(&Team::solo(), &[product]).expect("kernels that take them");
        y
    };
    let expanded = results(&dispatch);
    dispatch.disable(plan[0]);
    assert_eq!(names(&dispatch.plan(1, 1, 48).expect("a plan")), ["right4"; 12]);
    assert_eq!(results(&dispatch), expanded);
}

#[test]
fn batches_are_divided_at_the_least_cost() {
    let dispatch = tried(&RIGHT);
    assert_eq!(names(&dispatch.plan(1, 1, 1).expect("a plan")), ["right1"]);
    assert_eq!(names(&dispatch.plan(1, 1, 3).expect("a plan")), ["right1"; 3]);
    // Four at once cost 32, one by one 40.
    assert_eq!(names(&dispatch.plan(1, 1, 8).expect("a plan")), ["right4"; 2]);
    let mut plan = names(&dispatch.plan(1, 1, 6).expect("a plan"));
    plan.sort_unstable();
    assert_eq!(plan, ["right1", "right1", "right4"]);
    assert!(dispatch.plan(1, 1, 0).expect("a plan").is_empty());
}
