//! A bench for the output head in every format on every instruction set, `head_<format>_<rows>x<columns>__<isa>`: one token, rows of
//! the 2B-4T model's columns from memory.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tritforge::engine::Engine;
use tritforge::kernels::ISAS;
use tritforge::numerics::Numerics;
use tritforge::probe::Samples;
use tritforge::probe::memory::WeightMemory;
use tritforge_benches::heads::{COLS, FORMATS, check, head, operands};

use crate::limits::Limit;
use crate::report::{Bound, Report, Row};
use crate::time;

/// Rows of the vocabulary: enough bytes in each format that no cache holds them.
const ROWS: usize = 65_536;
/// The same where nothing is measured.
const TEST_ROWS: usize = 50;

/// All of them.
pub fn benches(criterion: &mut Criterion, memory: &WeightMemory, report: &mut Report, test: bool) {
    let engine = Engine::with_threads(1).expect("an engine of one thread");
    let rows = if test { TEST_ROWS } else { ROWS };
    for (storage, head_type) in FORMATS {
        let head = head(storage, head_type, rows, &engine);
        let (state, mut logits) = operands(rows, 1);
        let mut group = criterion.benchmark_group("head");
        group.throughput(Throughput::BytesDecimal(head.bytes_per_token() as u64));
        for numerics in ISAS.iter().filter_map(|isa| Numerics::new(isa).ok()) {
            let name = format!("head_{}_{rows}x{COLS}__{}", head.type_name(), numerics.isa().id);
            let mut calls = Samples::default();
            let mut limit = Limit::new(Bound::Bandwidth, numerics.isa(), memory);
            let mut checked = false;
            group.bench_function(BenchmarkId::from_parameter(&name), |bencher| {
                if !checked {
                    check(&head, 1, &numerics);
                    checked = true;
                    limit.probe();
                }
                bencher.iter_custom(|iterations| {
                    time(iterations, &mut calls, || {
                        let result = head.logits_on(&numerics, &state, black_box(&mut logits));
                        result.expect("operands that fit");
                    })
                });
            });
            if checked {
                limit.probe();
                let (bytes, macs, (bound, limit)) = (head.bytes_per_token(), rows * COLS, limit.found());
                report.add(Row { name, bound, bytes, macs, calls, limit });
            }
        }
        group.finish();
    }
}
