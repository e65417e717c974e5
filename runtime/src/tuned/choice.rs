//! What a profile says of the linked kernels.

use std::collections::HashMap;

use kernelgen::tuned::{Class, TunedProfile};

use crate::kernels::abi::Descriptor;

/// An instruction set's id, an operation and a class of shapes.
type Key = (&'static str, &'static str, Class);

/// The fastest kernels that are linked, and what they cost.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    best: HashMap<Key, Best>,
}

#[derive(Debug)]
struct Best {
    name: &'static str,
    cost: f64,
}

impl Choice {
    /// What a profile says of these kernels. Names of others are passed over: a profile may be older than the program.
    pub fn new(profile: &TunedProfile, descriptors: &'static [Descriptor]) -> Self {
        let mut best = HashMap::new();
        for kernel in &profile.kernels {
            if let Some(d) = descriptors.iter().find(|d| d.name == kernel.name) {
                let key = (d.isa.id, d.operation, kernel.class);
                best.insert(key, Best { name: d.name, cost: kernel.cost });
            }
        }
        Choice { best }
    }

    fn best(&self, d: &Descriptor, cols: usize) -> Option<&Best> {
        self.best.get(&(d.isa.id, d.operation, Class::of(cols)))
    }

    /// Whether this is the fastest generic kernel of its operation on its instruction set for matrices of so many columns.
    pub fn is_best(&self, d: &Descriptor, cols: usize) -> bool {
        self.best(d, cols).is_some_and(|best| best.name == d.name)
    }

    /// Nanoseconds that the fastest kernel of the operation takes for 256 weights and all tokens.
    pub fn cost(&self, d: &Descriptor, cols: usize) -> Option<f64> {
        self.best(d, cols).map(|best| best.cost)
    }
}
