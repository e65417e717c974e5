//! A bench for every float part on every instruction set that this CPU has, `<entry point>_f32_<length>__<isa>`: the
//! vectors of the 2B-4T model, in the cache, on one thread. A version whose bits are not those of the portable one is
//! not timed, it ends the run.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use rand_core::Rng;
use rand_pcg::Pcg32;
use tritforge::kernels::ISAS;
use tritforge::numerics::Numerics;

/// Channels of a head.
const HEAD_DIM: usize = 128;

/// What the entry points read and write.
#[derive(Clone)]
struct Operands {
    x: Vec<f32>,
    y: Vec<f32>,
    sums: Vec<i32>,
    /// Rows for the head.
    rows: Vec<f32>,
    out: Vec<f32>,
    q: Vec<i8>,
    /// Packed weights, and their codes.
    packed: Vec<u8>,
    codes: Vec<u8>,
}

impl Operands {
    fn new(len: usize) -> Self {
        let mut random = Pcg32::new(3, 3);
        let mut values = |len: usize| -> Vec<f32> {
            (0..len).map(|_| (random.next_u32() as i32 >> 8) as f32 / (1 << 23) as f32).collect()
        };
        let rows = values(4 * len);
        let (x, y) = (values(len), values(len));
        let packed = rows.iter().map(|value| value.to_bits() as u8).collect();
        let sums = x.iter().map(|x| (x * 4000.0) as i32).collect();
        Operands { x, y, sums, rows, out: vec![0.0; len], q: vec![0; len], packed, codes: vec![0; 16 * len] }
    }
}

/// An entry point at a length.
struct Case {
    name: &'static str,
    len: usize,
    /// Values that it goes through.
    values: usize,
    run: fn(&Numerics, &mut Operands),
}

const fn case(name: &'static str, len: usize, run: fn(&Numerics, &mut Operands)) -> Case {
    Case { name, len, values: len, run }
}

/// What works in place gets its operand copied first, and that is timed too.
const CASES: [Case; 11] = [
    case("rms_norm", 2560, |n, o| n.rms_norm(&o.x, &o.y, 1e-5, &mut o.out).expect("finite values")),
    case("quantize_row", 2560, |n, o| (o.sums[0], o.out[0]) = n.quantize_row(&o.x, &mut o.q)),
    case("rotate_heads", 2560, |n, o| {
        o.out.copy_from_slice(&o.x);
        n.rotate_heads(&o.y[..HEAD_DIM / 2], &o.y[HEAD_DIM / 2..HEAD_DIM], &mut o.out);
    }),
    case("relu2_gate", 6912, |n, o| {
        o.out.copy_from_slice(&o.x);
        n.relu2_gate(&mut o.out, &o.y);
    }),
    case("silu_gate", 6912, |n, o| {
        o.out.copy_from_slice(&o.x);
        n.silu_gate(&mut o.out, &o.y);
    }),
    case("add", 2560, |n, o| {
        o.out.copy_from_slice(&o.x);
        n.add(&mut o.out, &o.y);
    }),
    Case {
        name: "dot_rows",
        len: 2560,
        values: 4 * 2560,
        run: |n, o| n.dot_rows(&o.rows, &o.x, &mut o.out[..4]),
    },
    case("all_finite", 2560, |n, o| o.sums[0] = i32::from(n.all_finite(&o.x))),
    Case {
        name: "expand",
        len: 2560,
        values: 16 * 2560,
        run: |n, o| n.expand(&o.packed, [0, 2, 4, 6], &mut o.codes),
    },
    case("scale_by_tensor", 2560, |n, o| {
        black_box(n.scale_by_tensor(&o.sums, 0.3, 0.02, &mut o.out));
    }),
    case("scale_by_row", 2560, |n, o| {
        black_box(n.scale_by_row(&o.sums, &o.x, 0.02, &mut o.out));
    }),
];

/// All of them.
pub fn benches(criterion: &mut Criterion) {
    let available: Vec<Numerics> = ISAS.iter().filter_map(|isa| Numerics::new(isa).ok()).collect();
    for case in &CASES {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Elements(case.values as u64));
        for numerics in &available {
            let name = format!("{}_f32_{}__{}", case.name, case.len, numerics.isa().id);
            let mut operands = Operands::new(case.len);
            let mut checked = false;
            group.bench_function(BenchmarkId::from_parameter(&name), |bencher| {
                if !checked {
                    check(&name, case, numerics);
                    checked = true;
                }
                bencher.iter(|| (case.run)(numerics, black_box(&mut operands)));
            });
        }
        group.finish();
    }
}

/// Compares a version with the portable one.
///
/// # Panics
/// If a bit differs: a version that is wrong has no speed.
fn check(name: &str, case: &Case, numerics: &Numerics) {
    let mut found = Operands::new(case.len);
    let mut expected = found.clone();
    (case.run)(numerics, &mut found);
    (case.run)(&Numerics::portable(), &mut expected);
    let bits = |out: &[f32]| -> Vec<u32> { out.iter().map(|out| out.to_bits()).collect() };
    assert!(
        (bits(&found.out), found.q, found.sums, found.codes)
            == (bits(&expected.out), expected.q, expected.sums, expected.codes),
        "{name} gives other bits than the portable version"
    );
}
