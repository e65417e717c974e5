//! The configs in `configs/models` against the published table of ternary models.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{ModelShapes, Role, load_all};

fn bundled() -> Vec<ModelShapes> {
    load_all(&[Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/models")).to_owned()]).unwrap()
}

/// Layers, ternary weights in millions and all parameters in billions as the table prints them. It rounds
/// some of the millions up (679.48 to 680), so that they are good to one unit; the billions to half a unit of
/// the last digit.
const TABLE: [(&str, usize, u64, Option<&str>); 22] = [
    ("bitnet-b1.58-2b-4t", 30, 2084, Some("2.41")),
    ("bitnet-b1.58-large", 24, 680, Some("0.73")),
    ("bitnet-b1.58-xl", 24, 1208, Some("1.27")),
    ("bitnet-b1.58-3b", 26, 3222, Some("3.32")),
    ("llama3-8b-1.58", 32, 6979, Some("8.03")),
    ("falcon3-1b-1.58", 18, 1133, Some("1.67")),
    ("falcon3-3b-1.58", 22, 2422, Some("3.23")),
    ("falcon3-7b-1.58", 28, 6650, Some("7.46")),
    ("falcon3-10b-1.58", 40, 9500, Some("10.3")),
    ("falcon-e-1b", 24, 1585, Some("1.72")),
    ("falcon-e-3b", 32, 2919, Some("3.05")),
    ("trilm-99m", 16, 48, None),
    ("trilm-190m", 16, 113, None),
    ("trilm-390m", 24, 289, None),
    ("trilm-560m", 24, 440, None),
    ("trilm-830m", 24, 680, None),
    ("trilm-1.1b", 24, 969, None),
    ("trilm-1.5b", 24, 1309, None),
    ("trilm-2.4b", 30, 2230, None),
    ("trilm-3.9b", 30, 3681, Some("3.99")),
    ("bitnet-embedding-0.6b", 28, 440, Some("0.60")),
    ("bitnet-embedding-270m", 18, 100, Some("0.27")),
];

#[test]
fn every_model_of_the_table_is_there_and_the_demo() {
    let found: BTreeSet<String> = bundled().into_iter().map(|model| model.name).collect();
    let expected: BTreeSet<String> =
        TABLE.iter().map(|&(name, ..)| name).chain(["demo"]).map(str::to_owned).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_file_is_called_like_its_model() {
    for model in bundled() {
        assert_eq!(model.file.file_stem().unwrap().to_str(), Some(model.name.as_str()));
    }
}

#[test]
fn layers_and_parameter_counts_are_those_of_the_table() {
    let models = bundled();
    for (name, layers, ternary_millions, total_billions) in TABLE {
        let model = models.iter().find(|model| model.name == name).unwrap();
        assert_eq!(model.layers, layers, "{name}");
        let ternary = model.ternary_parameters();
        assert!(ternary.abs_diff(ternary_millions * 1_000_000) < 1_000_000, "{name}: {ternary}");
        if let Some(printed) = total_billions {
            let total = model.total_parameters() as f64 / 1e9;
            let decimals = printed.len() - printed.find('.').unwrap() - 1;
            let half_a_unit = 0.5 * 10f64.powi(-(decimals as i32));
            assert!((total - printed.parse::<f64>().unwrap()).abs() <= half_a_unit, "{name}: {total}");
        }
    }
}

#[test]
fn a_trilm_is_as_large_as_its_name_says() {
    for model in bundled() {
        let Some(size) = model.name.strip_prefix("trilm-") else { continue };
        let (number, unit) = size.split_at(size.len() - 1);
        let nominal = number.parse::<f64>().unwrap() * if unit == "b" { 1e9 } else { 1e6 };
        let ratio = model.total_parameters() as f64 / nominal;
        // The names round roughly; a head counted wrongly would change every size but the largest two by
        // more.
        assert!((0.95..1.05).contains(&ratio), "{}: {ratio}", model.name);
    }
}

#[test]
fn the_demo_model_has_the_sizes_of_its_checkpoint() {
    let models = bundled();
    let demo = models.iter().find(|model| model.name == "demo").unwrap();
    // 8 * (256*256 + 2 * 128*256 + 256*256 + 3 * 768*256), and 4096*256 for the tied embedding.
    assert_eq!(demo.ternary_parameters(), 6_291_456);
    assert_eq!(demo.total_parameters(), 7_340_032);
    assert_eq!(demo.context, Some(1024));
    assert_eq!(demo.ternary_shapes(), [(256, 256), (128, 256), (768, 256), (256, 768)]);
}

#[test]
fn the_published_models_have_58_ternary_shapes_and_the_known_widths() {
    let models = bundled();
    let published = models.iter().filter(|model| model.name != "demo");
    let shapes: BTreeSet<(usize, usize)> = published.flat_map(ModelShapes::ternary_shapes).collect();
    assert_eq!(shapes.len(), 58);
    let cols: BTreeSet<usize> = shapes.iter().map(|&(_, cols)| cols).collect();
    let known = [
        512, 640, 768, 1024, 1280, 1536, 1792, 2048, 2304, 2560, 3072, 3200, 4096, 5120, 5460, 6144, 6912,
        7680, 8192, 8640, 9216, 13312, 14336, 23040,
    ];
    assert_eq!(cols, BTreeSet::from(known));
    let rows: BTreeSet<usize> = shapes.iter().map(|&(rows, _)| rows).collect();
    assert_eq!(rows.difference(&cols).copied().collect::<Vec<_>>(), [256]);
}

#[test]
fn the_shapes_that_surprise_are_as_in_the_table() {
    let models = bundled();
    let shape = |name: &str, role: Role| {
        let matrix = models.iter().find(|model| model.name == name).unwrap().matrix(role).unwrap();
        (matrix.rows, matrix.cols)
    };
    // Grouped-query attention, heads wider than hidden / heads, and the widths that fit no block.
    assert_eq!(shape("bitnet-b1.58-2b-4t", Role::KProj), (640, 2560));
    assert_eq!(shape("bitnet-b1.58-xl", Role::DownProj), (2048, 5460));
    assert_eq!(shape("bitnet-b1.58-3b", Role::DownProj), (3200, 8640));
    assert_eq!(shape("falcon3-7b-1.58", Role::QProj), (3072, 3072));
    assert_eq!(shape("falcon3-1b-1.58", Role::KProj), (1024, 2048));
    assert_eq!(shape("falcon-e-3b", Role::VProj), (256, 2048));
    assert_eq!(shape("bitnet-embedding-0.6b", Role::OProj), (1024, 2048));
    assert_eq!(shape("bitnet-embedding-270m", Role::QProj), (1024, 640));
    assert_eq!(shape("trilm-3.9b", Role::LmHead), (50688, 3072));
}
