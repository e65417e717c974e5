//! Kernels with faults, to see that they are found.

use crate::kernels::DESCRIPTORS;
use crate::kernels::abi::{Descriptor, Kernel, Operands};

/// Times that the slow kernel computes its product: so often that no machine is too noisy to tell.
const TIMES: usize = 16;

fn original() -> &'static Descriptor {
    let is_it = |d: &&Descriptor| d.tokens == 1 && d.shape.is_none() && d.isa.rank == 0;
    DESCRIPTORS.iter().find(is_it).expect("a portable kernel for one token")
}

fn with(name: &'static str, entry: unsafe extern "C" fn(&Operands)) -> Kernel {
    let descriptor = Descriptor { name, entry, ..*original() };
    Kernel::new(Box::leak(Box::new(descriptor))).expect("a portable kernel")
}

/// The portable kernel for one token.
pub(crate) fn sound() -> Kernel {
    Kernel::new(original()).expect("a portable kernel")
}

/// The same, wrong by one in its first row.
pub(crate) fn broken() -> Kernel {
    unsafe extern "C" fn entry(operands: &Operands) {
        // SAFETY: these are the operands of the kernel, which has written its first result.
        unsafe {
            (original().entry)(operands);
            *operands.out += 1;
        }
    }
    with("broken on purpose", entry)
}

/// The same, right but slow.
pub(crate) fn slowed() -> Kernel {
    unsafe extern "C" fn entry(operands: &Operands) {
        for _ in 0..TIMES {
            // SAFETY: these are the operands of the kernel.
            unsafe { (original().entry)(operands) };
        }
    }
    with(original().name, entry)
}
