//! The generator as build scripts use it.

use kernelgen::{BuildError, Builder};
use tempfile::tempdir;
use tritforge_tests::configs;

#[test]
fn one_source_is_written_and_left_alone_while_nothing_changes() {
    let folder = tempdir().expect("a folder for temporary files");
    let builder = |cols| Builder::new().shape(48, cols).out_dir(folder.path());
    let generated = builder(64).generate().expect("kernels are generated");
    assert_eq!(generated.path, folder.path().join("kernels.rs"));
    let read = || std::fs::read_to_string(&generated.path).expect("the source is there");
    let changed = || std::fs::metadata(&generated.path).and_then(|m| m.modified()).expect("a time");
    let (text, time) = (read(), changed());
    for name in &generated.kernels {
        assert!(text.contains(&format!("pub unsafe fn {name}(")), "{name} is missing");
    }
    let syntax = syn::parse_file(&text).expect("the source parses");
    assert!(syntax.items.iter().any(|item| matches!(item, syn::Item::Static(s) if s.ident == "DESCRIPTORS")));
    builder(64).generate().expect("kernels are generated");
    assert_eq!((read(), changed()), (text.clone(), time));
    builder(80).generate().expect("kernels are generated");
    assert_ne!(read(), text);
}

/// A table whose schedule overflows, see `refusals`.
#[test]
fn a_schedule_that_no_shape_can_use_is_reported() {
    let folder = tempdir().expect("a folder for temporary files");
    let table = folder.path().join("table.toml");
    std::fs::write(&table, "[avx2.gemv]\nschedule = \"u1c1sr1p0f32\"\n").expect("the table can be written");
    let error = Builder::new().schedules(&table).compile().expect_err("it overflows");
    assert!(matches!(error, BuildError::Compile { .. }), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("generic kernel: gemv_i2a16_anyxany_u1c1sr1p0f32__avx2: "), "{message}");
    assert!(message.contains("can reach -64000..=63500"), "{message}");
}

#[test]
fn shapes_get_kernels_of_their_own_where_the_table_says_that_they_gain() {
    let folder = tempdir().expect("a folder for temporary files");
    let table = folder.path().join("table.toml");
    let entry = |isa: &str, gain: &str| format!("[{isa}.gemv]\nschedule = \"u1c1sr1p0\"\n{gain}\n");
    let text = [
        entry("avx2", "gain = { short = 3.0, long = 2.99 }"),
        entry("avx512bw", "gain = { short = -1.0, long = 4.5 }"),
        entry("portable", ""),
    ];
    std::fs::write(&table, text.concat()).expect("the table can be written");
    let builder = || Builder::new().schedules(&table).shape(48, 256).shape(48, 257);
    let names = |builder: Builder| -> Vec<String> {
        builder.compile().expect("it compiles").into_iter().map(|kernel| kernel.name).collect()
    };
    let name = |shape: &str, isa: &str| format!("gemv_i2a16_{shape}_u1c1sr1p0__{isa}");
    let gaining = [
        name("anyxany", "avx2"),
        name("48x256", "avx2"),
        name("anyxany", "avx512bw"),
        name("48x257", "avx512bw"),
        name("anyxany", "portable"),
    ];
    assert_eq!(names(builder()), gaining);
    assert_eq!(names(builder().specialise_all()).len(), 9);
}

/// The demo's config with one matrix widened, in a folder of its own.
fn wide_demo(folder: &std::path::Path, ffn: usize) -> std::path::PathBuf {
    let demo = std::fs::read_to_string(configs().join("models/demo.toml")).expect("the config");
    let path = folder.join("wide.toml");
    let wide = demo.replace("768", &ffn.to_string());
    assert_ne!(wide, demo);
    std::fs::write(&path, wide).expect("the config can be written");
    path
}

/// What a build script reads from an environment variable.
#[test]
fn a_list_of_configs_is_split_like_a_search_path() {
    let models = configs().join("models");
    let names = |builder: Builder| -> Vec<String> {
        builder.compile().expect("it compiles").into_iter().map(|kernel| kernel.name).collect()
    };
    let list = std::env::join_paths(["demo.toml".into(), models.join("bitnet-b1.58-large.toml")]);
    let listed = Builder::new().config_list(list.expect("no separator in a path"), &models);
    let each = ["demo.toml", "bitnet-b1.58-large.toml"].map(|name| models.join(name));
    assert_eq!(names(listed), names(each.into_iter().fold(Builder::new(), Builder::config)));
    // An empty list leaves the generic kernels; so do empty parts of one.
    assert_eq!(names(Builder::new().config_list("", &models)), names(Builder::new()));
    let gaps = std::env::join_paths(["", "demo.toml", ""]).expect("no separator in a path");
    assert_eq!(
        names(Builder::new().config_list(gaps, &models)),
        names(Builder::new().config(models.join("demo.toml")))
    );
}

#[test]
fn a_config_of_a_list_that_is_wrong_is_reported_with_its_place() {
    let folder = tempdir().expect("a folder for temporary files");
    let refusal = |list: &str| {
        Builder::new()
            .config_list(list, folder.path())
            .out_dir(folder.path())
            .generate()
            .expect_err(list)
            .to_string()
    };
    // A file that is not there.
    let missing = folder.path().join("missing.toml");
    assert!(refusal("missing.toml").starts_with(&format!("{}: cannot be read: ", missing.display())));
    // No rows.
    let path = wide_demo(folder.path(), 0);
    let text = std::fs::read_to_string(&path).expect("the config");
    let line = 1 + text.lines().position(|line| line.starts_with("ffn = ")).expect("a line for ffn");
    let error = refusal("wide.toml");
    let place = format!("{}:{line}:7: ffn is 0, expected a whole number from 1", path.display());
    assert!(error.lines().any(|line| line.starts_with(&place)), "{error}");
    // A K whose sums do not fit i32 with masked fields: 524288 columns are proven, see `refusals`.
    let path = wide_demo(folder.path(), 524_304);
    let text = std::fs::read_to_string(&path).expect("the config");
    let line =
        1 + text.lines().position(|line| line.starts_with("down_proj = ")).expect("a line for down_proj");
    let error = refusal("wide.toml");
    let place = format!("{}:{line}:13: down_proj of 256x524304: gemv_i2a16_", path.display());
    assert!(error.starts_with(&place), "{error}");
    assert!(error.contains("range proof failed at K = 524304: value "), "{error}");
    assert!(error.contains("its i32 lane holds -2147483648..=2147483647"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!folder.path().join("kernels.rs").exists());
}

#[test]
fn a_wrong_table_or_config_is_reported() {
    let folder = tempdir().expect("a folder for temporary files");
    let table = folder.path().join("table.toml");
    let error = Builder::new().schedules(&table).compile().expect_err("there is no table yet");
    assert!(matches!(error, BuildError::Io { ref path, .. } if *path == table), "{error}");
    std::fs::write(&table, "[avx2.gemv]\nschedule = \"fast\"\n").expect("the table can be written");
    let error = Builder::new().schedules(&table).compile().expect_err("no schedule").to_string();
    let place = format!("{}: schedule table: [avx2.gemv]: 'fast' is no schedule", table.display());
    assert!(error.starts_with(&place), "{error}");
    let error = Builder::new().config(folder.path().join("no.toml")).compile().expect_err("no config");
    assert!(matches!(error, BuildError::Config(_)), "{error}");
}

#[test]
fn each_shape_is_compiled_once() {
    let demo = configs().join("models/demo.toml");
    let once = Builder::new().config(&demo).compile().expect("it compiles").len();
    // A shape that the config holds already.
    let twice = Builder::new().config(&demo).shape(128, 256).compile().expect("it compiles").len();
    assert_eq!(once, twice);
}
