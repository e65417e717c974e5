//! What the tests of whole models share: where the fixtures are, and the tales that the demo model never saw.

use std::path::{Path, PathBuf};

/// A file or directory among the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name)
}

/// The held-out tales: the text, and the ids that the reference tokenizer gave it.
pub fn tales() -> Vec<(String, Vec<u32>)> {
    let lines = std::fs::read_to_string(fixture("demo/reference/heldout-tales.jsonl")).expect("the tales");
    let tales = lines.lines().map(|line| {
        let tale: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let text = tale["text"].as_str().expect("a text").to_owned();
        let ids = tale["ids"].as_array().expect("ids").iter();
        (text, ids.map(|id| id.as_u64().expect("an id") as u32).collect())
    });
    tales.collect()
}
