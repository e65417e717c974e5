//! The generated kernels, their descriptors, and the packers of the layouts. `build.rs` writes them with kernelgen
//! from the shapes in `configs/`.

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
