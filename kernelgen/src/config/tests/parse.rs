//! One model config as text: what is read, and the place and wording of every kind of fault.

use std::path::Path;

use crate::config::{Activation, ConfigError, Matrix, ModelShapes, Role, parse};

const SMALL: &str = r#"schema = 1
name = "small"
source = "made up"
activation = "silu"
sub_norms = true
tied = true

[dims]
layers = 3
hidden = 8
ffn = 12
heads = 4
kv_heads = 2
head_dim = 4
vocab = 10
context = 32

[matrices]
q_proj = { rows = 16, cols = 8 }
k_proj = { rows = 8, cols = 8 }
v_proj = { rows = 8, cols = 8 }
o_proj = { rows = 8, cols = 16 }
gate_proj = { rows = 12, cols = 8 }
up_proj = { rows = 12, cols = 8 }
down_proj = { rows = 8, cols = 12 }
embedding = { rows = 10, cols = 8 }
"#;

fn read(text: &str) -> Result<ModelShapes, ConfigError> {
    parse(text, Path::new("m.toml"))
}

/// The small config with some of its lines, counted from 1, replaced.
fn small_with(lines: &[(usize, &str)]) -> String {
    let mut text: Vec<&str> = SMALL.lines().collect();
    for &(number, line) in lines {
        text[number - 1] = line;
    }
    text.join("\n")
}

#[track_caller]
fn assert_refused(text: &str, expected: &[&str]) {
    let error = read(text).expect_err("the config is wrong");
    assert_eq!(error.to_string(), expected.join("\n"));
    assert_eq!(error.diagnostics().len(), expected.len());
}

#[test]
fn a_good_config_is_read_whole() {
    let model = read(SMALL).unwrap();
    assert_eq!(
        (model.name.as_str(), model.title.as_deref(), model.source.as_str()),
        ("small", None, "made up")
    );
    assert_eq!((model.file.as_path(), model.line, model.column), (Path::new("m.toml"), 2, 8));
    assert_eq!((model.activation, model.sub_norms, model.tied), (Activation::Silu, true, true));
    assert_eq!((model.layers, model.hidden, model.ffn), (3, 8, 12));
    assert_eq!((model.heads, model.kv_heads, model.head_dim), (4, 2, 4));
    assert_eq!((model.vocab, model.context), (10, Some(32)));
    let roles: Vec<Role> = model.matrices.iter().map(|matrix| matrix.role).collect();
    assert_eq!(roles, Role::ALL[..8]);
    let q_proj = Matrix { role: Role::QProj, rows: 16, cols: 8, line: 19, column: 10 };
    assert_eq!(model.matrix(Role::QProj), Some(&q_proj));
    let down_proj = Matrix { role: Role::DownProj, rows: 8, cols: 12, line: 25, column: 13 };
    assert_eq!(model.matrix(Role::DownProj), Some(&down_proj));
    assert_eq!(model.matrix(Role::LmHead), None);
}

#[test]
fn sums_and_distinct_shapes_agree_with_a_count_by_hand() {
    let model = read(SMALL).unwrap();
    // 3 * (16*8 + 8*8 + 8*8 + 8*16 + 3 * 12*8), and 10*8 for the embedding.
    assert_eq!(model.ternary_parameters(), 2016);
    assert_eq!(model.total_parameters(), 2096);
    assert_eq!(model.ternary_shapes(), [(16, 8), (8, 8), (8, 16), (12, 8), (8, 12)]);
}

#[test]
fn an_untied_head_counts_once_more() {
    let text = small_with(&[
        (6, "tied = false"),
        (26, "embedding = { rows = 10, cols = 8 }\nlm_head = { rows = 10, cols = 8 }"),
    ]);
    let model = read(&text).unwrap();
    assert_eq!(model.total_parameters(), 2176);
    let head = Matrix { role: Role::LmHead, rows: 10, cols: 8, line: 27, column: 11 };
    assert_eq!(model.matrix(Role::LmHead), Some(&head));
}

#[test]
fn optional_keys_may_be_missing_or_there() {
    let model = read(&small_with(&[(3, "source = \"x\"\ntitle = \"A small one\""), (16, "")])).unwrap();
    assert_eq!(model.title.as_deref(), Some("A small one"));
    assert_eq!(model.context, None);
}

#[test]
fn the_largest_model_that_passes_has_a_parameter_count() {
    let side = 1usize << 24;
    let square = format!("{{ rows = {side}, cols = {side} }}");
    let mut text = format!(
        "schema = 1\nname = \"l\"\nsource = \"x\"\nactivation = \"relu2\"\nsub_norms = false\ntied = false\n\
         [dims]\nlayers = 4096\nhidden = {side}\nffn = {side}\nheads = {side}\nkv_heads = {side}\nhead_dim = 1\n\
         vocab = {side}\n[matrices]\n"
    );
    for role in Role::ALL {
        text += &format!("{role} = {square}\n");
    }
    let model = read(&text).unwrap();
    assert_eq!(model.ternary_parameters(), 7 << 60);
    assert_eq!(model.total_parameters(), (7 << 60) + (1 << 49));
}

#[test]
fn syntax_errors() {
    assert_refused(&small_with(&[(10, "hidden = = 8")]), &["m.toml:10:10: extra `=`, expected nothing"]);
    assert_refused(&small_with(&[(8, "[dims")]), &["m.toml:8:6: unclosed table, expected `]`"]);
    assert_refused(&small_with(&[(11, "ffn = 12\nffn = 12")]), &["m.toml:12:1: duplicate key"]);
}

#[test]
fn missing_fields() {
    assert_refused("", &["m.toml:1:1: missing field `schema`"]);
    assert_refused(&small_with(&[(3, "")]), &["m.toml:1:1: missing field `source`"]);
    assert_refused(&small_with(&[(10, "")]), &["m.toml:8:1: missing field `hidden`"]);
    assert_refused(&small_with(&[(22, "")]), &["m.toml:18:1: missing field `o_proj`"]);
    assert_refused(&small_with(&[(19, "q_proj = { rows = 16 }")]), &["m.toml:19:10: missing field `cols`"]);
    let no_matrices: String = SMALL.lines().take(16).map(|line| format!("{line}\n")).collect();
    assert_refused(&no_matrices, &["m.toml:1:1: missing field `matrices`"]);
}

#[test]
fn unknown_keys() {
    assert_refused(
        &small_with(&[(7, "sub_norm = true")]),
        &[
            "m.toml:7:1: unknown field `sub_norm`, expected one of `schema`, `name`, `title`, `source`, `activation`, \
           `sub_norms`, `tied`, `dims`, `matrices`",
        ],
    );
    assert_refused(
        &small_with(&[(16, "contxt = 32")]),
        &[
            "m.toml:16:1: unknown field `contxt`, expected one of `layers`, `hidden`, `ffn`, `heads`, `kv_heads`, \
           `head_dim`, `vocab`, `context`",
        ],
    );
    assert_refused(
        &small_with(&[(20, "qkv_proj = { rows = 8, cols = 8 }")]),
        &["m.toml:20:1: unknown field `qkv_proj`, expected one of `q_proj`, `k_proj`, `v_proj`, `o_proj`, \
           `gate_proj`, `up_proj`, `down_proj`, `embedding`, `lm_head`"],
    );
    assert_refused(
        &small_with(&[(19, "q_proj = { rows = 16, columns = 8 }")]),
        &["m.toml:19:23: unknown field `columns`, expected `rows` or `cols`"],
    );
}

#[test]
fn wrong_types() {
    assert_refused(
        &small_with(&[(10, "hidden = \"8\"")]),
        &["m.toml:10:10: invalid type: string \"8\", expected a whole number"],
    );
    assert_refused(
        &small_with(&[(19, "q_proj = { rows = 16.0, cols = 8 }")]),
        &["m.toml:19:19: invalid type: floating point `16.0`, expected a whole number"],
    );
    assert_refused(
        &small_with(&[(22, "o_proj = [8, 16]")]),
        &["m.toml:22:10: invalid type: sequence, expected a table"],
    );
    let header: String = SMALL.lines().take(6).map(|line| format!("{line}\n")).collect();
    assert_refused(
        &format!("{header}dims = [3, 8]\n"),
        &["m.toml:7:8: invalid type: sequence, expected a table"],
    );
    assert_refused(
        &small_with(&[(5, "sub_norms = 1")]),
        &["m.toml:5:13: invalid type: integer `1`, expected a boolean"],
    );
    assert_refused(
        &small_with(&[(2, "name = 7")]),
        &["m.toml:2:8: invalid type: integer `7`, expected a string"],
    );
}

#[test]
fn values_out_of_range() {
    let range = "expected a whole number from 1 to 16777216";
    assert_refused(&small_with(&[(10, "hidden = 0")]), &[&format!("m.toml:10:10: hidden is 0, {range}")]);
    assert_refused(&small_with(&[(11, "ffn = -12")]), &[&format!("m.toml:11:7: ffn is -12, {range}")]);
    assert_refused(
        &small_with(&[(15, "vocab = 16_777_217")]),
        &[&format!("m.toml:15:9: vocab is 16777217, {range}")],
    );
    assert_refused(
        &small_with(&[(16, "context = 99999999999999999999")]),
        &[&format!("m.toml:16:11: context is 99999999999999999999, {range}")],
    );
    assert_refused(
        &small_with(&[(9, "layers = 4097")]),
        &["m.toml:9:10: layers is 4097, expected a whole number from 1 to 4096"],
    );
    assert_refused(
        &small_with(&[(19, "q_proj = { rows = 0, cols = 8 }")]),
        &[&format!("m.toml:19:19: q_proj.rows is 0, {range}")],
    );
}

#[test]
fn an_integer_beyond_every_machine_type_is_refused_at_its_place() {
    let error = read(&small_with(&[(10, &format!("hidden = {}", "9".repeat(60)))])).unwrap_err();
    assert!(error.to_string().starts_with("m.toml:10:10: "), "{error}");
}

#[test]
fn texts_that_name_nothing() {
    assert_refused(
        &small_with(&[(2, "name = \"A b\"")]),
        &["m.toml:2:8: name is \"A b\", expected 1 to 64 lower-case letters, digits, `.`, `-` and `_`"],
    );
    assert_refused(&small_with(&[(3, "source = \" \"")]), &["m.toml:3:10: source is empty, expected a text"]);
    assert_refused(
        &small_with(&[(4, "activation = \"relu\"")]),
        &["m.toml:4:14: activation is \"relu\", expected one of relu2, silu, gelu_tanh"],
    );
}

#[test]
fn another_version_is_named_before_any_other_fault() {
    assert_refused(
        &small_with(&[(1, "schema = 2"), (5, "norms = \"rms\"")]),
        &["m.toml:1:10: schema is 2, expected 1"],
    );
}

#[test]
fn contradictions_between_dims() {
    assert_refused(
        &small_with(&[
            (13, "kv_heads = 3"),
            (20, "k_proj = { rows = 12, cols = 8 }"),
            (21, "v_proj = { rows = 12, cols = 8 }"),
        ]),
        &["m.toml:13:12: kv_heads is 3, expected a divisor of heads = 4"],
    );
}

#[test]
fn contradictions_between_dims_and_each_matrix() {
    let cases = [
        (19, "q_proj = { rows = 8, cols = 8 }", "19:19: q_proj.rows is 8, expected heads * head_dim = 16"),
        (19, "q_proj = { rows = 16, cols = 16 }", "19:30: q_proj.cols is 16, expected hidden = 8"),
        (
            20,
            "k_proj = { rows = 16, cols = 8 }",
            "20:19: k_proj.rows is 16, expected kv_heads * head_dim = 8",
        ),
        (21, "v_proj = { rows = 8, cols = 9 }", "21:29: v_proj.cols is 9, expected hidden = 8"),
        (22, "o_proj = { rows = 16, cols = 16 }", "22:19: o_proj.rows is 16, expected hidden = 8"),
        (22, "o_proj = { rows = 8, cols = 8 }", "22:29: o_proj.cols is 8, expected heads * head_dim = 16"),
        (23, "gate_proj = { rows = 8, cols = 8 }", "23:22: gate_proj.rows is 8, expected ffn = 12"),
        (24, "up_proj = { rows = 12, cols = 12 }", "24:31: up_proj.cols is 12, expected hidden = 8"),
        (25, "down_proj = { rows = 12, cols = 12 }", "25:22: down_proj.rows is 12, expected hidden = 8"),
        (25, "down_proj = { rows = 8, cols = 8 }", "25:32: down_proj.cols is 8, expected ffn = 12"),
        (26, "embedding = { rows = 8, cols = 8 }", "26:22: embedding.rows is 8, expected vocab = 10"),
    ];
    for (line, text, expected) in cases {
        assert_refused(&small_with(&[(line, text)]), &[&format!("m.toml:{expected}")]);
    }
}

#[test]
fn an_output_head_must_fit_tied() {
    assert_refused(
        &small_with(&[(6, "tied = false")]),
        &["m.toml:6:8: tied is false, expected a matrix lm_head (vocab x hidden) beside the embedding"],
    );
    let both = "embedding = { rows = 10, cols = 8 }\nlm_head = { rows = 10, cols = 8 }";
    assert_refused(
        &small_with(&[(26, both)]),
        &[
            "m.toml:27:11: lm_head is given, expected none since tied = true makes the embedding the output head",
        ],
    );
}

#[test]
fn all_contradictions_are_reported_in_the_order_of_the_text() {
    assert_refused(
        &small_with(&[
            (4, "activation = \"relu\""),
            (13, "kv_heads = 0"),
            (19, "q_proj = { rows = 17, cols = 9 }"),
            (26, "embedding = { rows = 10, cols = 80 }"),
        ]),
        &[
            "m.toml:4:14: activation is \"relu\", expected one of relu2, silu, gelu_tanh",
            "m.toml:13:12: kv_heads is 0, expected a whole number from 1 to 16777216",
            "m.toml:19:19: q_proj.rows is 17, expected heads * head_dim = 16",
            "m.toml:19:30: q_proj.cols is 9, expected hidden = 8",
            "m.toml:26:33: embedding.cols is 80, expected hidden = 8",
        ],
    );
}

#[test]
fn deeply_nested_values_are_refused() {
    let text = small_with(&[(16, &format!("context = {}1", "[".repeat(100_000)))]);
    assert!(matches!(read(&text), Err(ConfigError::Invalid(_))));
}
