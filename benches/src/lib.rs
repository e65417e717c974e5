//! What the benches share: operands of kernels, and the check that comes before every measurement. What they measure
//! against is [`tritforge::probe`].

pub mod exact;

use tritforge::probe::PLAUSIBLE;

/// A ratio to a probed limit, marked where it says that the probe was too low.
pub fn ratio(value: f64, limit: f64) -> String {
    let ratio = value / limit;
    format!("{ratio:.2}{}", if ratio > PLAUSIBLE { "!" } else { "" })
}
