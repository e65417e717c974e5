//! What the benches share: operands of kernels, and the check that comes before every measurement. What they measure
//! against is [`tritforge::probe`].

pub mod exact;
