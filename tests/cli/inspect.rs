//! `tritforge inspect` and `tritforge kernels`.

use std::collections::HashSet;

use tritforge::cpu::{ISA_VARIABLE, available};
use tritforge::kernels::{DESCRIPTORS, ISAS};

use crate::command::{command, finish, fixture, of_tests, tritforge};

/// The columns of the line of the memory table that begins with `name`.
fn memory_line<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let table = text.split("Memory").nth(1).expect("a memory table");
    let found = table.lines().find_map(|line| line.trim_start().strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {table}")).split_whitespace().collect()
}

#[test]
fn the_memory_table_has_logical_and_resident_bytes() {
    let text = tritforge(["inspect"]).success();
    let head = text.lines().find(|line| line.starts_with("Memory")).expect("a memory table");
    assert!(
        ["f32 bytes", "packed", "resident", "ratio"].iter().all(|column| head.contains(column)),
        "{head}"
    );
    // 8 layers of 2 * 256^2 + 2 * 128 * 256 + 3 * 256 * 768 weights in 7 matrices of one scale each; every dimension is a
    // multiple of 16.
    assert_eq!(memory_line(&text, "all ternary"), ["25165824", "1573088", "1573088", "16.0x"]);
    // 4096 * 256 values of f16.
    assert_eq!(memory_line(&text, "token_embd"), ["4194304", "2097152", "2097152", "2.0x"]);
    // 8 * (3 * 256 + 768) + 256 values of f32.
    assert_eq!(memory_line(&text, "norms"), ["50176", "50176", "50176", "1.0x"]);
    assert_eq!(memory_line(&text, "model"), ["29410304", "3720416", "3720416", "7.9x"]);

    // 452 columns are padded to 464.
    let text = tritforge(["inspect", &fixture("oracle/bitnet-1bitllm/fp32")]).success();
    let (packed, resident) = (2 * (192 * 452 / 4 + 4), 2 * (192 * 464 / 4 + 4));
    let line = memory_line(&text, "down_proj");
    assert_eq!(line[1..3], [packed.to_string(), resident.to_string()], "{line:?}");
}

#[test]
fn metadata_graph_and_tensors_are_listed() {
    let text = tritforge(["inspect"]).success();
    for part in [
        "GGUF v3",
        "general.architecture = bitnet-b1.58",
        "tokenizer.ggml.pre = llama-bpe",
        "relu2",
        "with sub-norms",
        "tied head",
        "8 layers, hidden 256, ffn 768, 4 heads of 64 (2 kv), vocabulary 4096, context 1024",
        "tokenizer of 4096 tokens",
        "blk.7.ffn_down.weight",
        "I2_S",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let named = tritforge(["inspect", of_tests("../runtime/models/demo.gguf").to_str().expect("UTF-8")]);
    assert_eq!(named.success().lines().next(), text.lines().next());
    let directory = tritforge(["inspect", &fixture("oracle/llama-bitlinear/packed")]).success();
    assert!(directory.contains("without sub-norms") && directory.contains("untied head"), "{directory}");
}

#[test]
fn damaged_weights_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.gguf");
    let mut bytes = std::fs::read(of_tests("../runtime/models/demo.gguf")).expect("the demo model");
    // The last I2_S tensor, blk.7.ffn_down, ends 1056 bytes before the end: the last norm and its own trailer.
    let at = bytes.len() - 256 * 4 - 32 - 1;
    bytes[at] |= 0b11;
    std::fs::write(&path, bytes).expect("a file is written");
    let error = tritforge(["inspect", path.to_str().expect("UTF-8")]).error();
    assert!(error.contains("blk.7.ffn_down.weight") && error.contains("invalid code 3"), "{error}");
}

#[test]
fn kernels_lists_what_is_linked_and_selected() {
    for isa in available() {
        let text = finish(command(["kernels"]).env(ISA_VARIABLE, isa.id)).success();
        assert!(ISAS.iter().all(|isa| text.contains(isa.id)));
        let highest: Vec<&str> = text.lines().filter(|line| line.contains("highest in use")).collect();
        assert!(highest.len() == 1 && highest[0].contains(isa.id), "{highest:?}");
        assert!(text.contains(&format!("{ISA_VARIABLE}={}", isa.id)), "{text}");
        // The three configs that the build selects, with every matrix of the largest.
        let models: Vec<&str> = text.split("\nKernels for ").skip(1).collect();
        assert_eq!(models.len(), 3, "{text}");
        let large = models.iter().find(|model| model.starts_with("bitnet-b1.58-2b-4t,")).expect("2B-4T");
        for matrix in ["q_proj 2560x2560", "k_proj 640x2560", "v_proj 640x2560", "o_proj 2560x2560"] {
            assert!(large.contains(matrix), "{matrix}: {large}");
        }
        for matrix in ["gate_proj 6912x2560", "up_proj 6912x2560", "down_proj 2560x6912"] {
            assert!(large.contains(matrix), "{matrix}: {large}");
        }
        // A GEMV of every level up to the one asked for; of each number of tokens one kernel is selected.
        let decode = large.lines().filter(|line| line.contains(" gemv_")).count();
        let levels: HashSet<&str> = DESCRIPTORS
            .iter()
            .filter(|d| d.tokens == 1 && d.isa.rank <= isa.rank && (d.isa.available)())
            .map(|d| d.isa.id)
            .collect();
        assert_eq!(decode, levels.len(), "{large}");
        let selected: Vec<&str> = large.lines().filter(|line| line.contains("(selected, ")).collect();
        let tokens: HashSet<usize> = DESCRIPTORS
            .iter()
            .filter(|d| d.isa.rank <= isa.rank && (d.isa.available)())
            .map(|d| d.tokens)
            .collect();
        assert_eq!(selected.len(), tokens.len(), "{large}");
    }
    let own = tritforge(["kernels", "demo"]).success();
    assert!(own.contains("\nKernels for ") && own.contains("down_proj 256x768"), "{own}");
    let proof = tritforge(["kernels", "--verbose"]).success();
    assert!(proof.contains("bits)") && proof.contains("vector registers"), "{proof}");
    for descriptor in DESCRIPTORS {
        assert!(proof.contains(descriptor.name), "{}", descriptor.name);
    }
}
