use super::*;

fn sample() -> String {
    String::from(
        "version = 1\n\n[cpu]\narch = \"x86_64\"\nvendor = \"GenuineIntel\"\nmodel = \"family 6 model 143\"\n\
         name = \"A Xeon\"\nisas = [\"portable\", \"avx2\"]\n\n[made]\ndate = \"2026-11-28\"\ncommit = \"abc\"\n\
         by = \"by hand\"\nprobe = 20.5\n\n[settings]\nthreads = 4\nstream_kib = 256\n\n[[kernel]]\n\
         name = \"gemv_i2a16_anyxany_u4c1nr1p3072t3__avx2\"\nclass = \"long\"\ncost = 2.5\nof_probe = 0.9\n\
         noise = 0.01\nrunner_up = \"u2c1nr1p0\"\nbehind = 0.02\n\n[kernel.regret]\ndefault = 0.05\n",
    )
}

#[test]
fn what_is_written_is_read_back() {
    let profile = TunedProfile::parse(&sample()).unwrap();
    assert_eq!(profile.settings, Settings { threads: Some(4), stream_kib: Some(256), chunk_kib: None });
    let kernel = profile.kernel("avx2", "gemv", Class::Long).unwrap();
    assert_eq!((kernel.cost, kernel.regret["default"]), (2.5, 0.05));
    assert_eq!(kernel.spec().unwrap().schedule.streams, 3);
    for (isa, operation, class) in
        [("avx2", "gemv", Class::Short), ("avx2", "gemm4", Class::Long), ("avxvnni", "gemv", Class::Long)]
    {
        assert!(profile.kernel(isa, operation, class).is_none());
    }
    assert_eq!(TunedProfile::parse(&profile.to_toml().unwrap()).unwrap(), profile);
}

#[test]
fn a_wrong_profile_says_what_is_wrong() {
    let kernel = "gemv_i2a16_anyxany_u4c1nr1p3072t3__avx2";
    for (from, to, part) in [
        ("version = 1", "version = 2", "version 2, this program reads version 1"),
        ("version = 1\n", "", "missing field `version`"),
        ("threads = 4", "threads = 0", "setting threads is 0, expected 1 to 1024"),
        ("stream_kib = 256", "stream_kib = 99999999", "setting stream_kib is 99999999"),
        ("stream_kib", "stream_mib", "unknown field `stream_mib`"),
        ("cost = 2.5", "cost = 0.0", "cost is no positive number"),
        ("cost = 2.5", "cost = nan", "cost is no positive number"),
        ("default = 0.05", "default = inf", "a figure is not finite"),
        (kernel, "gemv_i2a16_anyxany_fast__avx2", "'fast' is no schedule"),
        (kernel, "gemv_i2a16_64x64_u4c1nr1p0__avx2", "profiles name generic kernels"),
        ("class = \"long\"", "class = \"wide\"", "unknown variant `wide`"),
    ] {
        let text = sample();
        assert!(text.contains(from), "{from}");
        let error = TunedProfile::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let twice = sample() + &sample()[sample().find("[[kernel]]").unwrap()..];
    let error = TunedProfile::parse(&twice).unwrap_err().to_string();
    assert!(error.contains("have a kernel already"), "{error}");
}

#[test]
fn a_folder_is_read_in_order_and_a_wrong_file_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(TunedProfile::load_folder(&folder.path().join("none")).unwrap(), []);
    for name in ["b.toml", "a.toml", "notes.md"] {
        std::fs::write(folder.path().join(name), sample()).unwrap();
    }
    let stems: Vec<String> =
        TunedProfile::load_folder(folder.path()).unwrap().into_iter().map(|(stem, _)| stem).collect();
    assert_eq!(stems, ["a", "b"]);
    std::fs::write(folder.path().join("c.toml"), "version = 9").unwrap();
    let error = TunedProfile::load_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("c.toml") && error.contains("version 9"), "{error}");
    let long = folder.path().join("long");
    std::fs::write(&long, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(TunedProfile::load(&long).unwrap_err().to_string().contains("at most 1048576"));
}

#[test]
fn the_model_and_the_instruction_sets_decide_kinship() {
    let here = TunedProfile::parse(&sample()).unwrap().cpu;
    let with = |change: fn(&mut CpuId)| {
        let mut other = here.clone();
        change(&mut other);
        other.kinship(&here)
    };
    assert_eq!(with(|cpu| cpu.name = "another name".to_owned()), Kinship::Same);
    assert_eq!(with(|cpu| cpu.model = "family 6 model 1".to_owned()), Kinship::Related);
    assert_eq!(with(|cpu| cpu.vendor = "AuthenticAMD".to_owned()), Kinship::Stranger);
    assert_eq!(with(|cpu| cpu.isas.push("amx".to_owned())), Kinship::Stranger);
    assert_eq!(with(|cpu| cpu.arch = "aarch64".to_owned()), Kinship::Stranger);
    // The nearest is the greatest.
    assert!(Kinship::Same > Kinship::Related && Kinship::Related > Kinship::Stranger);
    assert_eq!(here.file_stem(), "genuineintel-family-6-model-143-avx2");
}
