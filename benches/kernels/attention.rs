//! A bench for attention with each type of KV cache on every instruction set,
//! `attend_<type>_<positions>x<head width>__<isa>`: the query heads of one key and value head of the 2B-4T model, at a depth of 1024,
//! in the cache.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use rand_core::Rng;
use rand_pcg::Pcg32;
use tritforge::kernels::ISAS;
use tritforge::model::KvType;
use tritforge::numerics::Numerics;
use tritforge::numerics::attention::{CHUNK, HeadBlocks, Queries, Workspace};
use tritforge::numerics::kv_block::{KvBlock, KvShape};
use tritforge::probe::Samples;

use crate::report::{Bound, Report, Row};
use crate::time;

/// Query heads of a key and value head.
const HEADS: usize = 4;
const HEAD_DIM: usize = 128;
/// Positions that are looked back at.
const POSITIONS: usize = 1024;

/// All of them.
pub fn benches(criterion: &mut Criterion, report: &mut Report) {
    let mut random = Pcg32::new(5, 5);
    let mut values = |len: usize| -> Vec<f32> {
        (0..len).map(|_| (random.next_u32() as i32 >> 8) as f32 / (1 << 23) as f32).collect()
    };
    let query = values(HEADS * HEAD_DIM);
    for kv_type in KvType::ALL {
        let shape = KvShape { kv_type, kv_heads: 1, head_dim: HEAD_DIM };
        let mut block = KvBlock::new(shape).expect("memory for a block");
        for position in 0..CHUNK {
            let (keys, values) = (values(HEAD_DIM), values(HEAD_DIM));
            Numerics::portable().store_kv(&mut block, position, &keys, &values).expect("values below 1");
        }
        let blocks = vec![block; POSITIONS.div_ceil(CHUNK)];
        let attend = |numerics: &Numerics, work: &mut Workspace, out: &mut [f32]| {
            let queries = Queries {
                values: &query,
                stride: HEADS * HEAD_DIM,
                tokens: 1,
                heads: HEADS,
                head_dim: HEAD_DIM,
                visible: POSITIONS,
            };
            numerics.attend(&queries, &HeadBlocks { blocks: &blocks, kv_head: 0 }, work, out);
        };
        let mut expected = vec![0.0; HEADS * HEAD_DIM];
        attend(&Numerics::portable(), &mut Workspace::default(), &mut expected);
        let bytes = POSITIONS * shape.position_bytes();
        let mut group = criterion.benchmark_group("attend");
        group.throughput(Throughput::BytesDecimal(bytes as u64));
        for numerics in ISAS.iter().filter_map(|isa| Numerics::new(isa).ok()) {
            let name = format!("attend_{kv_type}_{POSITIONS}x{HEAD_DIM}__{}", numerics.isa().id);
            let (mut work, mut out) = (Workspace::default(), vec![0.0; HEADS * HEAD_DIM]);
            let mut calls = Samples::default();
            let mut run = false;
            group.bench_function(BenchmarkId::from_parameter(&name), |bencher| {
                run = true;
                bencher.iter_custom(|iterations| {
                    time(iterations, &mut calls, || attend(&numerics, &mut work, black_box(&mut out)))
                });
            });
            let same = out.iter().zip(&expected).all(|(found, one)| found.to_bits() == one.to_bits());
            if run {
                assert!(
                    same,
                    "{name} gives other bits than the portable version: a version that is wrong has no speed"
                );
                let macs = 2 * POSITIONS * HEADS * HEAD_DIM;
                report.add(Row { name, bound: Bound::Cache, bytes, macs, calls, limit: f64::NAN });
            }
        }
        group.finish();
    }
}
