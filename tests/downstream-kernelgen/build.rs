//! Generates kernels for a model config of this crate's own and for one single shape, whether they gain or not.

fn main() -> Result<(), kernelgen::BuildError> {
    let generated =
        kernelgen::Builder::new().config("model.toml").shape(777, 1000).specialise_all().generate()?;
    assert!(generated.kernels.iter().any(|name| name.contains("_777x1000_")));
    Ok(())
}
