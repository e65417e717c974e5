//! What the benches measure against and with: the read bandwidth of this machine, probed in the same run, and
//! memory full of weights that is larger than any cache.

pub mod memory;
pub mod probe;
