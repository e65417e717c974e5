//! Generates the kernels that the crate links: generic ones for every instruction set, and specialised ones for
//! the shapes of the default configs.

use std::path::Path;

/// The models whose shapes get kernels of their own.
const DEFAULT_CONFIGS: [&str; 3] = ["demo.toml", "bitnet-b1.58-large.toml", "bitnet-b1.58-2b-4t.toml"];

fn main() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/models");
    let builder = DEFAULT_CONFIGS
        .iter()
        .fold(kernelgen::Builder::new(), |builder, config| builder.config(models.join(config)));
    if let Err(error) = builder.generate() {
        // cargo shows what a build script prints to stderr when it fails.
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
