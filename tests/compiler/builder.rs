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
        assert!(text.contains(&format!("pub unsafe extern \"C\" fn {name}(")), "{name} is missing");
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

#[test]
fn variants_and_tuned_schedules_are_generated_beside_the_default_one() {
    let folder = tempdir().expect("a folder for temporary files");
    let table = folder.path().join("table.toml");
    let text = "[avx2.gemv]\nschedule = \"u1c1sr1p0\"\nvariants = [\"u2c1sr1p0\"]\n[portable.gemv]\nschedule = \"u1c1sr1p0\"\n";
    std::fs::write(&table, text).expect("the table can be written");
    let tuned = folder.path().join("tuned");
    std::fs::create_dir(&tuned).expect("a folder");
    let kernel = |schedule: &str| {
        format!(
            "[[kernel]]\nname = \"gemv_i2a16_anyxany_{schedule}__avx2\"\nclass = \"long\"\ncost = 1.0\nof_probe = 1.0\nnoise = 0.0\n"
        )
    };
    let profile = |schedule: &str| {
        "version = 1\n[cpu]\narch = \"x86_64\"\nvendor = \"v\"\nmodel = \"m\"\nname = \"n\"\nisas = [\"portable\"]\n\
         [made]\ndate = \"d\"\ncommit = \"c\"\nby = \"b\"\nprobe = 1.0\n"
            .to_owned()
            + &kernel(schedule)
    };
    // One of its own, and one that is a variant already.
    std::fs::write(tuned.join("one.toml"), profile("u4c1sr1p0")).expect("a profile");
    std::fs::write(tuned.join("two.toml"), profile("u2c1sr1p0")).expect("a profile");
    let builder = || Builder::new().schedules(&table).out_dir(folder.path());
    let schedules = |builder: Builder| -> Vec<String> {
        let kernels = builder.compile().expect("it compiles");
        let avx2 = kernels.iter().filter(|kernel| kernel.spec.isa.id() == "avx2");
        avx2.map(|kernel| kernel.spec.schedule.to_string()).collect()
    };
    assert_eq!(schedules(builder()), ["u1c1sr1p0"]);
    assert_eq!(schedules(builder().variants()), ["u1c1sr1p0", "u2c1sr1p0"]);
    let all = builder().variants().tuned(&tuned);
    assert_eq!(schedules(all.clone()), ["u1c1sr1p0", "u2c1sr1p0", "u4c1sr1p0"]);
    assert_eq!(schedules(builder().tuned(folder.path().join("none"))), ["u1c1sr1p0"]);

    let text =
        std::fs::read_to_string(all.generate().expect("it is written").path).expect("the source is there");
    assert_eq!(text.matches("standard: true").count(), 2, "the default ones of both instruction sets");
    assert_eq!(text.matches("standard: false").count(), 2);
    let squeezed: String = text.split_whitespace().collect();
    assert!(squeezed.contains("(\"one\",\"version=1"), "the profiles are linked");

    std::fs::write(tuned.join("two.toml"), profile("fast")).expect("a profile");
    let error = builder().tuned(&tuned).compile().expect_err("no schedule").to_string();
    assert!(error.contains("two.toml") && error.contains("'fast' is no schedule"), "{error}");
    // What cannot be compiled is reported with the profile that names it.
    std::fs::write(tuned.join("two.toml"), profile("u1c1sr1p0f32")).expect("a profile");
    let error = builder().tuned(&tuned).compile().expect_err("it overflows").to_string();
    assert!(error.starts_with("tuned profile two, kernel gemv_i2a16_anyxany_u1c1sr1p0f32__avx2"), "{error}");
}
