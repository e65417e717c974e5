//! Which contests there are to be held.

use kernelgen::tuned::Class;

use super::arena::{Place, is_streamed};
use super::{Options, TuneError};
use crate::cpu;
use crate::kernels::DESCRIPTORS;
use crate::kernels::abi::{Descriptor, IsaInfo, Kernel};
use crate::kernels::layouts::i2a16;
use crate::probe::MEMORY;

/// Shapes of a class that are timed at most: the smallest, the largest, and some between.
const SHAPES: usize = 4;

/// A contest to be held.
#[derive(Debug, Clone)]
pub struct Event {
    /// The instruction set.
    pub isa: &'static IsaInfo,
    /// The operation.
    pub operation: &'static str,
    /// The class of shapes.
    pub class: Class,
    /// Where.
    pub places: Vec<Place>,
    /// The linked kernels, the default one first.
    pub kernels: Vec<Kernel>,
}

impl Event {
    /// Its name, for people: `gemv on avx2, long rows`.
    pub fn name(&self) -> String {
        format!("{} on {}, {} rows", self.operation, self.isa.id, self.class.name())
    }
}

/// The contests that the options ask for.
///
/// # Errors
/// [`TuneError`] for an instruction set that cannot be had, shapes that are none, and where nothing is left.
pub fn events(options: &Options) -> Result<Vec<Event>, TuneError> {
    let isas: Vec<&'static IsaInfo> = match &options.isas[..] {
        [] => cpu::available().into_iter().filter(|isa| isa.rank > 0).collect(),
        ids => ids.iter().map(|id| cpu::by_id(id)).collect::<Result<_, _>>()?,
    };
    if isas.is_empty() {
        return Err(TuneError::Nothing("this CPU has the portable kernels alone"));
    }
    let of = |class| -> Vec<(usize, usize)> {
        options.shapes.iter().copied().filter(|(_, cols)| Class::of(*cols) == class).collect()
    };
    let (mut short, mut long) = (of(Class::Short), of(Class::Long));
    for &(rows, cols) in &options.shapes {
        let bytes = i2a16::packed_bytes(rows.max(1), cols.max(1));
        if rows == 0 || cols == 0 || bytes > MEMORY {
            return Err(TuneError::Matrix { rows, cols, bytes, most: MEMORY });
        }
    }
    let mut events = Vec::new();
    for isa in isas {
        let mut operations: Vec<&'static Descriptor> = Vec::new();
        for d in DESCRIPTORS.iter().filter(|d| d.isa.id == isa.id && d.shape.is_none() && d.standard) {
            operations.push(d);
        }
        operations.sort_by_key(|d| d.tokens);
        for default in operations {
            for (class, shapes) in [(Class::Short, &mut short), (Class::Long, &mut long)] {
                let places = places(default.tokens, shapes, options.threads);
                let variants = DESCRIPTORS.iter().filter(|d| {
                    let same = d.isa.id == isa.id && d.operation == default.operation;
                    // What is expanded for many calls is not chosen by what one costs.
                    same && d.shape.is_none() && !d.standard && d.expanded.is_none()
                });
                let kernels: Vec<Kernel> =
                    std::iter::once(default).chain(variants).filter_map(Kernel::new).collect();
                if !places.is_empty() && !kernels.is_empty() {
                    events.push(Event { isa, operation: default.operation, class, places, kernels });
                }
            }
        }
    }
    if events.is_empty() {
        return Err(TuneError::Nothing("no shapes"));
    }
    Ok(events)
}

/// Where kernels of so many tokens are timed for some shapes.
fn places(tokens: usize, shapes: &mut Vec<(usize, usize)>, threads: usize) -> Vec<Place> {
    shapes.sort_by_key(|(rows, cols)| (rows * cols, *cols));
    shapes.dedup();
    let chosen: Vec<(usize, usize)> = match shapes.len() {
        count @ ..=SHAPES => shapes[..count].to_vec(),
        // Evenly spread over all, both ends among them.
        count => (0..SHAPES).map(|i| shapes[i * (count - 1) / (SHAPES - 1)]).collect(),
    };
    let mut places = Vec::new();
    for (rows, cols) in chosen {
        places.push(Place { rows, cols, threads: 1 });
        if is_streamed(tokens, cols) && threads > 1 {
            places.push(Place { rows, cols, threads });
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_shapes_are_timed_on_one_thread_and_on_all() {
        let mut shapes = vec![(64, 512), (640, 2560), (6912, 2560), (2560, 6912), (2560, 2560), (640, 2560)];
        let streamed = places(1, &mut shapes, 3);
        let expected = [(64, 512), (640, 2560), (2560, 2560), (2560, 6912)];
        assert_eq!(streamed.len(), 2 * expected.len());
        for (two, (rows, cols)) in streamed.chunks(2).zip(expected) {
            assert_eq!(two, [1, 3].map(|threads| Place { rows, cols, threads }));
        }
        // A prompt's products have their weights in the cache.
        assert!(places(16, &mut shapes, 3).iter().all(|place| place.threads == 1));
        assert_eq!(places(1, &mut vec![(8, 256)], 3).len(), 1);
        assert_eq!(places(1, &mut Vec::new(), 3), []);
    }

    #[test]
    fn what_cannot_be_tuned_is_refused() {
        let options = |shape, isas: &[&str]| Options {
            shapes: vec![shape],
            threads: 1,
            isas: isas.iter().map(|id| (*id).to_owned()).collect(),
            seconds: 1.0,
            command: String::new(),
        };
        let refusal = |options: &Options| events(options).unwrap_err().to_string();
        assert!(refusal(&options((16, 16), &["sse9"])).contains("unknown instruction set 'sse9'"));
        assert!(refusal(&options((1 << 20, 1 << 20), &["portable"])).contains("1048576x1048576"));
        assert!(refusal(&options((0, 16), &["portable"])).contains("0x16"));
        let portable = events(&options((16, 512), &["portable"])).unwrap();
        assert!(portable.iter().all(|event| event.class == Class::Long && event.kernels.len() == 1));
        assert!(portable.iter().any(|event| event.name() == "gemv on portable, long rows"));
    }
}
