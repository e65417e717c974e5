//! `tritforge tokenize`.

use crate::command::{fixture, tale, tritforge, with_input};

fn line(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ") + "\n"
}

#[test]
fn ids_of_a_text_a_file_and_standard_input() {
    let (text, ids) = tale(3);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tale.txt");
    std::fs::write(&file, &text).expect("a file is written");
    let file = file.to_str().expect("UTF-8");
    for model in ["demo", &fixture("demo/packed")] {
        assert_eq!(tritforge(["tokenize", model, &text]).success(), line(&ids));
        assert_eq!(tritforge(["tokenize", model, "--file", file]).success(), line(&ids));
        assert_eq!(with_input(["tokenize", model], text.as_bytes()).success(), line(&ids));
        assert_eq!(tritforge(["tokenize", model, &text, "--no-special"]).success(), line(&ids[1..]));
    }
    assert_eq!(tritforge(["tokenize", "--file", file]).success(), line(&ids));
}

#[test]
fn nothing_has_the_token_that_begins_a_text() {
    assert_eq!(tritforge(["tokenize", "demo", ""]).success(), "0\n");
    assert_eq!(tritforge(["tokenize", "demo", "", "--no-special"]).success(), "\n");
    assert_eq!(with_input(["tokenize", "demo"], b"").success(), "0\n");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("latin-1.txt");
    std::fs::write(&file, b"caf\xe9").expect("a file is written");
    let error = tritforge(["tokenize", "demo", "--file", file.to_str().expect("UTF-8")]).error();
    assert!(error.contains("latin-1.txt") && error.contains("UTF-8"), "{error}");
    let error = tritforge(["tokenize", "demo", "--file", "no/such/file"]).error();
    assert!(error.contains("no/such/file"), "{error}");
    assert!(with_input(["tokenize", "demo"], b"caf\xe9").error().contains("UTF-8"));
    let error = tritforge(["tokenize", &fixture("oracle/bitnet-b158/packed"), "text"]).error();
    assert!(error.contains("tokenizer.json"), "{error}");
    tritforge(["tokenize", "demo", "text", "--file", "file"]).refused();
}
