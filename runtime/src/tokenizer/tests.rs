use super::*;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/demo");

/// The 256 bytes, two merges and an end-of-turn token.
fn parts(pre: PreTokenizer) -> BpeParts {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut texts: Vec<String> = alphabet.into_iter().map(String::from).collect();
    texts.extend(["Ġt", "he", "Ġthe", "<|eot_id|>", "zq"].map(String::from));
    let mut kinds = vec![TokenKind::Normal; texts.len()];
    kinds[259] = TokenKind::Control;
    BpeParts {
        vocabulary: Vocabulary::new(texts.into_iter().collect(), kinds).unwrap(),
        merges: ["Ġ t", "h e", "Ġt he"].into_iter().collect(),
        pre,
        bos: None,
        eos: None,
        stop: Vec::new(),
        add_bos: Some(false),
        add_eos: None,
    }
}

#[test]
fn merges_specials_and_bytes_go_both_ways() {
    let tokenizer = Tokenizer::from_bpe(parts(PreTokenizer::LlamaBpe)).unwrap();
    let ids = tokenizer.encode("x the<|eot_id|> the é", true).unwrap();
    assert_eq!(ids[1..4], [258, 259, 258]);
    assert_eq!(tokenizer.decode(&ids), "x the the é");
    assert_eq!(tokenizer.stop_tokens(), [259]);
    assert_eq!(tokenizer.vocab_size(), 261);
}

#[test]
fn only_llama_bpe_takes_whole_pieces_without_merges() {
    for (pre, whole) in [(PreTokenizer::LlamaBpe, true), (PreTokenizer::Gpt2, false)] {
        let ids = Tokenizer::from_bpe(parts(pre)).unwrap().encode("zq", false).unwrap();
        assert_eq!(ids == [260], whole, "{pre}");
    }
}

#[test]
fn tokens_around_a_text_follow_the_keys_and_the_pre_tokenizer() {
    let mut asked = parts(PreTokenizer::Gpt2);
    (asked.bos, asked.eos, asked.add_bos, asked.add_eos) = (Some(256), Some(259), Some(true), Some(true));
    let tokenizer = Tokenizer::from_bpe(asked).unwrap();
    let body = tokenizer.encode("he", false).unwrap();
    assert_eq!(body, [257]);
    assert_eq!(tokenizer.encode("he", true).unwrap(), [256, 257, 259]);

    let mut default = parts(PreTokenizer::LlamaBpe);
    default.add_bos = None;
    let error = Tokenizer::from_bpe(default).err().unwrap();
    assert!(matches!(error, TokenizerError::MissingSpecial { .. }), "{error}");
    let mut beyond = parts(PreTokenizer::LlamaBpe);
    beyond.stop = vec![261];
    assert!(matches!(Tokenizer::from_bpe(beyond), Err(TokenizerError::TokenId { id: 261, .. })));
}

#[test]
fn damaged_vocabularies_are_errors_and_no_panics() {
    for merge in ["Ġt Ġt", "nonsense", "x", "", " x", "\u{144} a"] {
        let mut bad = parts(PreTokenizer::LlamaBpe);
        bad.merges = [merge].into_iter().collect();
        let error = Tokenizer::from_bpe(bad).unwrap().encode("a", false).unwrap_err();
        assert!(matches!(error, TokenizerError::Build { .. }), "{merge}: {error}");
    }
    let mut bad = parts(PreTokenizer::LlamaBpe);
    bad.vocabulary =
        Vocabulary::new(["a", "b", "a"].into_iter().collect(), vec![TokenKind::Normal; 3]).unwrap();
    bad.merges = StringArray::from_iter([""; 0]);
    let tokenizer = Tokenizer::from_bpe(bad).unwrap();
    assert!(tokenizer.encode("ab", false).unwrap_err().to_string().contains("twice"));
    assert_eq!(tokenizer.encode("c", false), Err(TokenizerError::UnspelledByte { byte: b'c' }));
}

fn demo_file() -> TokenizerFile {
    let json = std::fs::read(format!("{DEMO}/packed/tokenizer.json")).unwrap();
    TokenizerFile::parse(json).unwrap().unwrap()
}

/// The held-out tales and the ids that the reference tokenizer gave them.
fn tales() -> Vec<(String, Vec<u32>)> {
    #[derive(serde::Deserialize)]
    struct Tale {
        text: String,
        ids: Vec<u32>,
    }
    let lines = std::fs::read_to_string(format!("{DEMO}/reference/heldout-tales.jsonl")).unwrap();
    let tales = lines.lines().map(|line| serde_json::from_str::<Tale>(line).unwrap());
    tales.map(|tale| (tale.text, tale.ids)).collect()
}

#[test]
fn the_held_out_tales_encode_to_their_reference_ids() {
    let file = demo_file();
    let declared = DeclaredTokens {
        bos: Some(DeclaredToken::Text("<|begin_of_text|>".into())),
        stop: vec![DeclaredToken::Id(1)],
    };
    let from_json = Tokenizer::from_file(&file, &declared).unwrap();
    let from_parts = Tokenizer::from_bpe(BpeParts {
        vocabulary: file.vocabulary().unwrap(),
        merges: file.merges(),
        pre: file.pre_tokenizer().unwrap(),
        bos: Some(0),
        eos: Some(1),
        stop: vec![1],
        add_bos: None,
        add_eos: None,
    })
    .unwrap();
    let tales = tales();
    assert_eq!(tales.len(), 14);
    for tokenizer in [&from_json, &from_parts] {
        assert_eq!(tokenizer.stop_tokens(), [1]);
        assert_eq!(tokenizer.bos(), Some(0));
        for (text, ids) in &tales {
            assert!(tokenizer.encode(text, true).unwrap() == *ids, "{}", &text[..40]);
            assert!(tokenizer.decode(ids) == *text);
        }
    }
}

#[test]
fn splitting_rules_are_recognised_or_refused() {
    let json = std::fs::read_to_string(format!("{DEMO}/packed/tokenizer.json")).unwrap();
    assert_eq!(demo_file().pre_tokenizer(), Ok(PreTokenizer::LlamaBpe));
    let with = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        TokenizerFile::parse(json.replacen(from, to, 1).into_bytes())
    };
    let qwen = with("{1,3}", "").unwrap().unwrap();
    assert_eq!(qwen.pre_tokenizer(), Ok(PreTokenizer::Qwen2));
    let other = with("{1,3}", "{1,2}").unwrap().unwrap();
    assert!(matches!(other.pre_tokenizer(), Err(TokenizerError::SplitRule { .. })));
    let removed = with("\"Isolated\"", "\"Removed\"").unwrap().unwrap();
    assert!(matches!(removed.pre_tokenizer(), Err(TokenizerError::SplitRule { .. })));
}

#[test]
fn other_kinds_of_tokenizer_json_say_what_is_supported() {
    let reason =
        TokenizerFile::parse(br#"{"model": {"type": "Unigram", "vocab": []}}"#.to_vec()).unwrap().err();
    assert!(reason.is_some_and(|reason| reason.contains("Unigram") && reason.contains("byte-level BPE")));
    let spm = br#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": true}}"#;
    let reason = TokenizerFile::parse(spm.to_vec()).unwrap().err();
    assert!(reason.is_some_and(|reason| reason.contains("SentencePiece")));
    let bad = br#"{"model": {"vocab": {"a": 0}, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}}"#;
    assert!(matches!(TokenizerFile::parse(bad.to_vec()), Err(TokenizerError::Merge { rank: 0, .. })));
    let sparse =
        br#"{"model": {"vocab": {"a": 4000000000}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}"#;
    let file = TokenizerFile::parse(sparse.to_vec()).unwrap().unwrap();
    assert!(matches!(file.vocabulary(), Err(TokenizerError::SparseIds { .. })));
    assert!(matches!(TokenizerFile::parse(b"{}".to_vec()), Err(TokenizerError::Json { .. })));
}

#[test]
fn merges_split_at_the_first_space_after_the_first_character() {
    assert_eq!(json::split_merge("Ġ t"), Some(("Ġ", "t")));
    assert_eq!(json::split_merge("  t"), Some((" ", "t")));
    assert_eq!(json::split_merge("Ġt"), None);
    assert_eq!(json::split_merge("t "), None);
}

/// llama.cpp's own vectors, for a vocabulary-only file in the folder that `TRITFORGE_VECTORS` names.
#[test]
fn the_gpt2_vectors_of_llama_cpp_agree() {
    let Some(folder) = std::env::var_os("TRITFORGE_VECTORS") else {
        eprintln!("skipped: TRITFORGE_VECTORS is not set");
        return;
    };
    let path = std::path::Path::new(&folder).join("ggml-vocab-gpt-2.gguf");
    let file =
        crate::format::gguf::GgufFile::parse(crate::format::SharedBytes::open(&path).unwrap()).unwrap();
    let strings = |key: &str| file.strings(&file.get(key).unwrap()).unwrap();
    let texts = strings("tokenizer.ggml.tokens");
    let kinds = match file.get("tokenizer.ggml.token_type").unwrap() {
        crate::format::gguf::Value::Array(array) => {
            let ids = array.bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()));
            ids.map(|id| TokenKind::from_gguf(id).unwrap()).collect()
        }
        other => panic!("{other}"),
    };
    let id = |key: &str| file.get(key).map(|value| value.as_u64().unwrap() as u32);
    let tokenizer = Tokenizer::from_bpe(BpeParts {
        vocabulary: Vocabulary::new(texts, kinds).unwrap(),
        merges: strings("tokenizer.ggml.merges"),
        pre: file.get("tokenizer.ggml.pre").unwrap().as_str().unwrap().parse().unwrap(),
        bos: id("tokenizer.ggml.bos_token_id"),
        eos: id("tokenizer.ggml.eos_token_id"),
        stop: Vec::new(),
        add_bos: None,
        add_eos: None,
    })
    .unwrap();
    let beside = |ending: &str| std::fs::read_to_string(format!("{}.{ending}", path.display())).unwrap();
    let (inputs, outputs) = (beside("inp"), beside("out"));
    let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
    let outputs: Vec<&str> = outputs.lines().collect();
    assert_eq!(inputs.len(), outputs.len());
    for (input, output) in inputs.iter().zip(outputs) {
        let expected: Vec<u32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode(input, false).unwrap(), expected, "{input:?}");
        assert_eq!(tokenizer.decode(&expected), *input);
    }
}
