use std::path::Path;

use kernelgen::tuned::{CpuId, Kinship, Made, Settings, TunedProfile, VERSION};
use tempfile::tempdir;

use super::{InForce, Origin, choose, save};
use crate::head::Walk;
use crate::shares::Blocks;

fn cpu(vendor: &str, model: &str) -> CpuId {
    let isas = ["portable", "avx2"].map(str::to_owned).to_vec();
    CpuId { arch: "x86_64".into(), vendor: vendor.into(), model: model.into(), name: "a name".into(), isas }
}

fn profile(cpu: CpuId) -> TunedProfile {
    let made = Made { date: "2026-11-28".into(), commit: "abc".into(), by: "hand".into(), probe: 1.0 };
    TunedProfile { version: VERSION, cpu, made, settings: Settings::default(), kernels: Vec::new() }
}

fn followed(in_force: &InForce) -> (&Origin, Kinship) {
    let followed = in_force.followed.as_ref().expect("a profile");
    (&followed.origin, followed.kinship)
}

#[test]
fn the_nearest_linked_profile_is_followed() {
    let text = |vendor, model| profile(cpu(vendor, model)).to_toml().unwrap();
    let (far, other, near, same) = (text("Z", "1"), text("A", "2"), text("A", "3"), text("A", "1"));
    let linked = [("far", &*far), ("other", &*other), ("near", &*near), ("same", &*same)];
    let here = cpu("A", "1");
    let all = choose(&here, None, None, &linked).unwrap();
    assert_eq!(followed(&all), (&Origin::Linked("same".into()), Kinship::Same));
    // Of equals the first.
    let some = choose(&here, None, None, &linked[..3]).unwrap();
    assert_eq!(followed(&some), (&Origin::Linked("other".into()), Kinship::Related));
    let none = choose(&here, None, None, &linked[..1]).unwrap();
    assert!(none.followed.is_none() && none.to_string().contains("no profile is linked for this CPU"));
}

#[test]
fn a_users_profile_counts_on_its_own_cpu_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("deep/tuned.toml");
    let linked = profile(cpu("A", "1")).to_toml().unwrap();
    let linked = [("same", &*linked)];
    let chosen = |here: &CpuId| choose(here, None, Some(&path), &linked).unwrap();
    save(&profile(cpu("A", "1")), &path).unwrap();
    assert_eq!(followed(&chosen(&cpu("A", "1"))), (&Origin::User(path.clone()), Kinship::Same));
    // Edited by hand: another model. The linked one is followed, the other named with the reason.
    save(&profile(cpu("A", "7")), &path).unwrap();
    let other = chosen(&cpu("A", "1"));
    assert_eq!(followed(&other), (&Origin::Linked("same".into()), Kinship::Same));
    assert!(other.refused[0].contains("made on another CPU, a name (A 7, portable avx2)"), "{other:?}");
    std::fs::write(&path, "version = 99").unwrap();
    let damaged = chosen(&cpu("A", "1"));
    assert!(damaged.refused[0].contains("version 99") && damaged.followed.is_some(), "{damaged:?}");
}

#[test]
fn settings_count_on_the_same_cpu_and_threads_for_the_user_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("tuned.toml");
    let mut tuned = profile(cpu("A", "1"));
    tuned.settings =
        Settings { threads: Some(3), stream_kib: Some(256), chunk_kib: Some(72), head_streams: Some(1) };
    save(&tuned, &path).unwrap();
    let text = tuned.to_toml().unwrap();
    let linked = [("one", &*text)];
    let settings = |in_force: InForce| {
        let followed = in_force.followed.unwrap();
        let Blocks { stream_bytes, chunk_bytes } = followed.blocks();
        (followed.threads(), stream_bytes >> 10, chunk_bytes >> 10, followed.head_walk())
    };
    let here = cpu("A", "1");
    let own = choose(&here, None, Some(&path), &linked).unwrap();
    assert_eq!(settings(own), (Some(3), 256, 72, Walk::OneStream));
    let built_in = choose(&here, None, None, &linked).unwrap();
    assert_eq!(settings(built_in), (None, 256, 72, Walk::OneStream));
    // Another model has other caches.
    let related = choose(&cpu("A", "2"), None, None, &linked).unwrap();
    let default = Blocks::default();
    let expected = (None, default.stream_bytes >> 10, default.chunk_bytes >> 10, Walk::OneStream);
    assert_eq!(settings(related), expected);
}

#[test]
fn a_profile_that_is_named_must_fit() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("own.toml");
    let named = |path: &Path| choose(&cpu("A", "1"), Some(path), None, &[]);
    save(&profile(cpu("A", "2")), &path).unwrap();
    assert_eq!(followed(&named(&path).unwrap()), (&Origin::Variable(path.clone()), Kinship::Related));
    save(&profile(cpu("B", "1")), &path).unwrap();
    let error = named(&path).unwrap_err().to_string();
    assert!(error.contains("own.toml") && error.contains("made on a name (B 1"), "{error}");
    assert!(named(&folder.path().join("none.toml")).is_err());
    let none = named(Path::new("none")).unwrap();
    assert_eq!(none.to_string(), "none: TRITFORGE_PROFILE=none");
}
