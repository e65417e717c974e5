//! Generates the kernels that the crate links: generic ones for every instruction set, and for the shapes of some models
//! ones of their own where these gain. `TRITFORGE_CONFIGS` says which models: paths of configs, or of folders of them, separated like
//! those of `PATH`; relative ones start at the root of the repository. Empty, it leaves the generic kernels alone. Besides, the
//! variants of the schedule table and what the tuned profiles in `configs/tuned` name, for machines to choose from.

use std::path::Path;

use kernelgen::Builder;

const CONFIGS_VARIABLE: &str = "TRITFORGE_CONFIGS";

/// The models whose shapes are served where the variable is not set.
const DEFAULT_CONFIGS: [&str; 3] = ["demo.toml", "bitnet-b1.58-large.toml", "bitnet-b1.58-2b-4t.toml"];

fn main() {
    println!("cargo:rerun-if-env-changed={CONFIGS_VARIABLE}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let all = Builder::new().variants().tuned(root.join("configs/tuned"));
    let builder = match std::env::var_os(CONFIGS_VARIABLE) {
        Some(list) => all.config_list(list, &root),
        None => {
            let models = root.join("configs/models");
            DEFAULT_CONFIGS.iter().fold(all, |builder, config| builder.config(models.join(config)))
        }
    };
    if let Err(error) = builder.generate() {
        // cargo shows what a build script prints to stderr when it fails.
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
