//! Codes of weights, brought apart once for many calls of a kernel: see [`expand`](crate::kernels::abi::expand). The engine's
//! products do it by themselves; it is here for programs that call kernels of their own accord.
//!
//! ```
//! use tritforge::expanded::Expanded;
//! use tritforge::numerics::Numerics;
//!
//! let mut expanded = Expanded::default();
//! // An atom whose codes are all 2, which a trit of +1 is.
//! expanded.make(&Numerics::portable(), Some([0, 2, 4, 6]), &[0b10_10_10_10; 64]);
//! assert_eq!(expanded.codes(), [2; 256]);
//! ```

use crate::kernels::abi::EXPANSION;
use crate::numerics::Numerics;
use crate::os::Line;
use crate::room::Room;

/// The codes of some row tiles; the memory is kept from one to the next.
#[derive(Debug, Default)]
pub struct Expanded {
    memory: Room<Line>,
    /// Lines of it that are in use.
    lines: usize,
}

impl Expanded {
    /// Makes those of packed tiles, if a kernel wants them: `fields` is what its descriptor says,
    /// [`Descriptor::expanded`](crate::kernels::abi::Descriptor::expanded). Else nothing changes.
    ///
    /// # Panics
    /// When the tiles are not whole atoms of 64 bytes.
    pub fn make(&mut self, numerics: &Numerics, fields: Option<[u32; EXPANSION]>, packed: &[u8]) {
        let Some(fields) = fields else { return };
        self.lines = packed.len() * EXPANSION / size_of::<Line>();
        numerics.expand(packed, fields, bytemuck::cast_slice_mut(self.memory.sized(self.lines)));
    }

    /// The codes that were made last, four times as many bytes as the tiles had, 64-byte aligned: what
    /// [`Problem::expanded`](crate::kernels::abi::Problem::expanded) wants for a call on these tiles.
    pub fn codes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.memory[..self.lines])
    }
}
