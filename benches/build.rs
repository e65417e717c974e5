//! Generates what the bench `specialise` compares: kernels for some shapes of each class, and the generic ones.

fn main() -> Result<(), kernelgen::BuildError> {
    // K up to 256, and more; multiples of 16 and others.
    let shapes = [(256, 256), (128, 160), (250, 250), (256, 768), (128, 2560), (250, 1003)];
    let builder = shapes.into_iter().fold(kernelgen::Builder::new(), |b, (rows, cols)| b.shape(rows, cols));
    builder.specialise_all().generate()?;
    Ok(())
}
