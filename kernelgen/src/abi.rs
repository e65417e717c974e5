// What every generated kernel shares: its operands, its descriptor, and the safe call that checks the operands.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows of a tile; tiles are what a call may be restricted to.
pub const TILE_ROWS: usize = 16;
/// Columns of an atom: K is padded to a multiple of it.
pub const ATOM_COLS: usize = 16;
/// Bytes of an atom.
pub const ATOM_BYTES: usize = 64;
/// Alignment of packed weights, in bytes.
pub const WEIGHT_ALIGNMENT: usize = 64;
/// Codes of a packed byte: expanded weights are so many times as long.
pub const EXPANSION: usize = 4;
/// Bytes of the scratch that a kernel may use: eight tiles of 16 rows of 64 bytes.
pub const SCRATCH_BYTES: usize = 8192;

/// The raw operands of a kernel. [`Kernel::run`] makes them from slices.
///
/// A kernel reads atoms `first_tile * k_atoms .. end_tile * k_atoms` of `weights` (64 bytes each, 64-byte
/// aligned; where it wants them [expanded](expand), 256), `k_atoms * 16` bytes of each of its activation vectors (as many as
/// [`interleaved_len`] says where it wants them so), one sum a vector, and writes rows
/// `16 * first_tile .. min(16 * end_tile, rows)` of each result, the first of them at `out`. A kernel with several weight
/// streams does the same for tiles `stream_tiles` further on and results `stream_out` further on, once more for each stream
/// after the first. What the scratch holds
/// before a call is of no matter, and what it holds after it of no use; kernels without tiles leave it alone.
///
/// The representation is C's, like the calling convention of kernels: a kernel that another run of the compiler made can be
/// called, as the search for schedules does.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Operands {
    /// Packed weights of the whole matrix.
    pub weights: *const u8,
    /// Activation vectors, `act_stride` bytes apart; for kernels that want them [interleaved](interleave), all of them so.
    pub acts: *const i8,
    /// Bytes from one activation vector to the next, where they are not interleaved.
    pub act_stride: usize,
    /// The sum of each activation vector.
    pub act_sums: *const i32,
    /// Results of the first tile, `out_stride` values from one vector's to the next's.
    pub out: *mut i32,
    /// Values from one vector's results to the next's.
    pub out_stride: usize,
    /// First row tile.
    pub first_tile: usize,
    /// One past the last row tile.
    pub end_tile: usize,
    /// Row tiles from one weight stream to the next.
    pub stream_tiles: usize,
    /// Values from one weight stream's results to the next's.
    pub stream_out: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Atoms a row tile.
    pub k_atoms: usize,
    /// `SCRATCH_BYTES` bytes, 64-byte aligned, for this call alone.
    pub scratch: *mut u8,
}

/// The scratch of a call. A load waits for a store before it where both are at the same place of their pages, and what is staged
/// is stored between loads of activations: at a page's start it is never where these are, if they begin with a page too.
#[repr(C, align(4096))]
struct Scratch(MaybeUninit<[u8; SCRATCH_BYTES]>);

impl Operands {
    /// Rows of a tile that exist, 1 to 16.
    #[inline(always)]
    pub fn rows_in(&self, tile: usize) -> i32 {
        (self.rows - tile * TILE_ROWS).min(TILE_ROWS) as i32
    }
}

/// Row tiles that a kernel with several weight streams works on in one call: in each of its steps one tile of each stream,
/// the next one in the next step. The CPU itself reads ahead in all of them, so that more of memory's lines are under way
/// than one stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// First tile of the first stream.
    pub first: usize,
    /// Tiles of each stream.
    pub steps: usize,
    /// Tiles from one stream's first to the next's.
    pub distance: usize,
}

impl Streams {
    /// The calls that cover a range of tiles with so many streams, at least one: equal parts of it, then what is left over
    /// together with tiles that are done, whose results are the same again.
    pub fn covering(tiles: Range<usize>, streams: usize) -> impl Iterator<Item = Streams> {
        let (count, each) = (tiles.len(), tiles.len() / streams);
        let parts = match each {
            // All streams go through the same tiles.
            0 => Streams { first: tiles.start, steps: count, distance: 0 },
            _ => Streams { first: tiles.start, steps: each, distance: each },
        };
        let rest = Streams { first: tiles.end.saturating_sub(streams), steps: 1, distance: 1 };
        let has_rest = each > 0 && !count.is_multiple_of(streams);
        [(parts, count > 0), (rest, has_rest)].into_iter().filter(|(_, is_one)| *is_one).map(|(call, _)| call)
    }

    /// The tile of a stream in a step.
    pub fn tile(&self, stream: usize, step: usize) -> usize {
        self.first + stream * self.distance + step
    }
}

/// Four activations as one word.
///
/// # Safety
/// `from` must be valid for reading four bytes; it needs no alignment.
#[inline(always)]
pub unsafe fn load_i32(from: *const i8) -> i32 {
    // SAFETY: the caller promises four readable bytes.
    unsafe { from.cast::<i32>().read_unaligned() }
}

/// A mask of the first `rows_left` of sixteen lanes.
#[inline(always)]
pub fn tail_mask16(rows_left: i32) -> u16 {
    ((1u32 << rows_left.clamp(0, 16)) - 1) as u16
}

/// A code that is no trit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCode {
    /// Row of the weight.
    pub row: usize,
    /// Column of the weight.
    pub col: usize,
    /// The code found.
    pub code: u8,
}

impl fmt::Display for InvalidCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidCode { row, col, code } = self;
        write!(f, "code {code} at row {row}, column {col} is no trit (0, 1 and 2 stand for -1, 0 and +1)")
    }
}

impl std::error::Error for InvalidCode {}

/// An instruction set and whether this CPU has it.
#[derive(Debug)]
pub struct IsaInfo {
    /// Its id, as in kernel names.
    pub id: &'static str,
    /// Preference where a CPU has several: the higher the better.
    pub rank: u32,
    /// Target features that the CPU must show.
    pub features: &'static [&'static str],
    /// Asks the CPU.
    pub available: fn() -> bool,
}

/// The interval that an integer value of a kernel was proven to stay in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenRange {
    /// The value's name.
    pub value: &'static str,
    /// Its smallest value.
    pub lo: i64,
    /// Its largest value.
    pub hi: i64,
    /// Bits of its type.
    pub bits: u32,
}

/// Columns K up to which rows count as short: their kernels spend a good part of the time outside of the loop.
pub const SHORT_COLS: usize = 256;

/// Per cent that a kernel of fixed shape must gain over the generic one to be worth its place in a binary.
pub const WORTHWHILE_GAIN: f64 = 3.0;

/// What a kernel of fixed shape was measured to gain over the generic one, in per cent of the time, by class of shape;
/// `None` where nobody has measured it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gain {
    /// K up to [`SHORT_COLS`].
    pub short: Option<f64>,
    /// Greater K.
    pub long: Option<f64>,
}

impl Gain {
    /// The gain for matrices of so many columns.
    pub fn of(self, cols: usize) -> Option<f64> {
        if cols <= SHORT_COLS { self.short } else { self.long }
    }

    /// Whether matrices of so many columns get kernels of their own.
    pub fn is_worthwhile(self, cols: usize) -> bool {
        self.of(cols).is_some_and(|gain| gain >= WORTHWHILE_GAIN)
    }
}

/// A matrix of a model that kernels were generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// What it is for, `q_proj` for example.
    pub role: &'static str,
    /// Rows M.
    pub rows: usize,
    /// Columns K.
    pub cols: usize,
}

/// A model that kernels were generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// Its name in its config.
    pub name: &'static str,
    /// The ternary matrices of a layer.
    pub matrices: &'static [Matrix],
}

/// A generated kernel: what it is, what is known about it, and its entry point.
#[derive(Debug)]
pub struct Descriptor {
    /// `<op>_<format>_<M>x<K>_<schedule>__<isa>`.
    pub name: &'static str,
    /// `gemv` or `gemm<tokens>`.
    pub operation: &'static str,
    /// Activation vectors a call.
    pub tokens: usize,
    /// Weight streams that it reads in turn, at least one.
    pub streams: usize,
    /// For a kernel that reads activations [interleaved](interleave): the values of each vector that stand together.
    pub interleaved: Option<usize>,
    /// For a kernel that wants weights [expanded](expand): the bit positions of the fields that it reads. It is one for many
    /// calls with the same weights.
    pub expanded: Option<[u32; EXPANSION]>,
    /// The resident layout that it reads.
    pub layout: &'static str,
    /// Rows and columns that it serves; `None` for any.
    pub shape: Option<(usize, usize)>,
    /// How its loops are arranged.
    pub schedule: &'static str,
    /// The instruction set that it needs.
    pub isa: &'static IsaInfo,
    /// The greatest K that its range proof covers.
    pub k_max: usize,
    /// The range of every integer value.
    pub proof: &'static [ProvenRange],
    /// Vector registers at the widest point of its innermost loops.
    pub registers: usize,
    /// Static cost: cycles for 256 weights times the tokens of the operation.
    pub cycles_per_256_weights: f64,
    /// What kernels of fixed shape gain for this operation on this instruction set.
    pub gain: Gain,
    /// Whether the schedule is the table's own, which is used where no tuned profile names another.
    pub standard: bool,
    /// The kernel.
    pub entry: unsafe extern "C" fn(&Operands),
}

impl Descriptor {
    /// Bytes of the weights of a row tile of so many columns, as the kernel reads them.
    pub fn tile_bytes(&self, cols: usize) -> usize {
        let times = if self.expanded.is_some() { EXPANSION } else { 1 };
        cols.div_ceil(ATOM_COLS) * ATOM_BYTES * times
    }
}

/// A matrix product to be computed: packed weights and quantised activations.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// Rows M of the matrix.
    pub rows: usize,
    /// Columns K of the matrix.
    pub cols: usize,
    /// The matrix in the kernel's layout, padding included, 64-byte aligned.
    pub weights: &'a [u8],
    /// Activation vectors, each of `cols` values followed by zeros up to a multiple of 16.
    pub acts: &'a [i8],
    /// Values from one activation vector to the next.
    pub act_stride: usize,
    /// The sum of each activation vector.
    pub act_sums: &'a [i32],
    /// The vectors of `acts` once more, as [`interleave`] makes them, where they are at hand; a kernel that wants them makes them
    /// otherwise, in each call. No other looks at them.
    pub interleaved: Option<&'a [i8]>,
    /// The codes of the row tiles that a call computes, as [`expand`] makes them, 64-byte aligned, where they are at hand; a kernel
    /// that wants them makes them otherwise, in each call. No other looks at them.
    pub expanded: Option<&'a [u8]>,
}

/// Activations of a dot product of four columns.
pub const QUAD: usize = 4;

/// Activations of a vector that make up a row of a tile.
pub const TILE_RUN: usize = 64;

/// Activations of each vector that are interleaved at a time: of sixteen vectors they stay in the nearest cache.
const INTERLEAVED_AT_ONCE: usize = 64;

/// Values of an interleaved vector of `len` values, a multiple of [`ATOM_COLS`], of which `run` ([`QUAD`] or [`TILE_RUN`]) stand
/// together: where that is more than an atom, each atom that is left over has a run of its own, filled up with zeros.
pub fn interleaved_len(len: usize, run: usize) -> usize {
    match run {
        0..=ATOM_COLS => len,
        _ => (len / run + len % run / ATOM_COLS) * run,
    }
}

/// Interleaves some vectors of `len` values, a multiple of [`ATOM_COLS`], `stride` apart: `run` of the first ([`QUAD`] or
/// [`TILE_RUN`]), as many of the second and so on, then the next ones of each; see [`interleaved_len`].
///
/// # Panics
/// When `acts` ends before the last vector does, `out` does not hold whole vectors, or the runs are of another length.
pub fn interleave(acts: &[i8], stride: usize, len: usize, run: usize, out: &mut [i8]) {
    let each = interleaved_len(len, run);
    let tokens = out.len() / each.max(1);
    assert!(len.is_multiple_of(ATOM_COLS) && out.len() == tokens * each, "whole vectors of whole atoms");
    let whole = len - if run > ATOM_COLS { len % run } else { 0 };
    let (runs, rest) = out.split_at_mut(tokens * whole);
    for (index, out) in runs.chunks_mut((tokens * INTERLEAVED_AT_ONCE).max(1)).enumerate() {
        let (first, some) = (index * INTERLEAVED_AT_ONCE, out.len() / tokens);
        for token in 0..tokens {
            let from = acts[token * stride + first..][..some].chunks_exact(run);
            // A length that is known is copied without a call.
            match run {
                QUAD => place::<QUAD>(from, token, tokens, out),
                TILE_RUN => place::<TILE_RUN>(from, token, tokens, out),
                _ => panic!("runs of {QUAD} or {TILE_RUN}, not of {run}"),
            }
        }
    }
    for (atom, out) in rest.chunks_mut((tokens * run).max(1)).enumerate() {
        for (token, out) in out.chunks_mut(run).enumerate() {
            let from = &acts[token * stride + whole + atom * ATOM_COLS..][..ATOM_COLS];
            out[..ATOM_COLS].copy_from_slice(from);
            out[ATOM_COLS..].fill(0);
        }
    }
}

/// Puts runs of a vector where they belong among those of all.
#[inline(always)]
fn place<const RUN: usize>(
    runs: std::slice::ChunksExact<'_, i8>,
    token: usize,
    tokens: usize,
    out: &mut [i8],
) {
    for (to, from) in out.chunks_exact_mut(tokens * RUN).zip(runs) {
        to[token * RUN..][..RUN].copy_from_slice(from);
    }
}

/// Brings the codes of packed atoms apart, one a byte: of each atom the fields at these bit positions, one after the other.
///
/// # Panics
/// When `codes` does not hold [`EXPANSION`] times as many bytes.
#[inline(always)]
pub fn expand(packed: &[u8], fields: [u32; EXPANSION], codes: &mut [u8]) {
    assert_eq!(codes.len(), packed.len() * EXPANSION, "a byte a code");
    let atoms = codes.chunks_exact_mut(ATOM_BYTES * EXPANSION).zip(packed.chunks_exact(ATOM_BYTES));
    for (codes, atom) in atoms {
        for (codes, position) in codes.chunks_exact_mut(ATOM_BYTES).zip(fields) {
            for (code, byte) in codes.iter_mut().zip(atom) {
                *code = byte >> position & 3;
            }
        }
    }
}

/// Codes that a call brings apart for itself.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Codes([u8; ATOM_BYTES]);

impl Codes {
    fn expanded(packed: &[u8], fields: [u32; EXPANSION]) -> Vec<Codes> {
        let mut lines = vec![Codes([0; ATOM_BYTES]); packed.len() / ATOM_BYTES * EXPANSION];
        // SAFETY: `Codes` is `repr(C)` of 64 bytes, any of which is valid, with nothing in between.
        let codes = unsafe {
            std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<u8>(), size_of_val(&lines[..]))
        };
        expand(packed, fields, codes);
        lines
    }
}

/// Operands that a kernel cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelError {
    /// The kernel serves another shape.
    Shape {
        /// The kernel.
        kernel: &'static str,
        /// Rows and columns asked for.
        found: (usize, usize),
        /// Rows and columns that it serves; `None` for any from 1x1.
        expected: Option<(usize, usize)>,
    },
    /// K is past what the kernel's range proof covers.
    TooManyColumns {
        /// The kernel.
        kernel: &'static str,
        /// Columns asked for.
        cols: usize,
        /// Columns proven.
        k_max: usize,
    },
    /// The packed weights do not start at a multiple of 64 bytes.
    MisalignedWeights {
        /// The kernel.
        kernel: &'static str,
        /// Bytes past such a multiple.
        offset: usize,
    },
    /// An operand has the wrong length.
    Length {
        /// The kernel.
        kernel: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Its length.
        found: usize,
        /// The least that is needed.
        needed: usize,
    },
    /// Activations past K are not zero.
    Padding {
        /// The kernel.
        kernel: &'static str,
        /// Which activation vector.
        token: usize,
    },
    /// Row tiles that the matrix does not have.
    Tiles {
        /// The kernel.
        kernel: &'static str,
        /// The range asked for.
        found: Range<usize>,
        /// Tiles that there are.
        tiles: usize,
    },
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelError::Shape { kernel, found: (m, k), expected: Some((rows, cols)) } => {
                write!(f, "{kernel}: serves {rows}x{cols}, not {m}x{k}")
            }
            KernelError::Shape { kernel, found: (m, k), expected: None } => {
                write!(f, "{kernel}: a matrix needs at least one row and one column, this one is {m}x{k}")
            }
            KernelError::TooManyColumns { kernel, cols, k_max } => {
                write!(
                    f,
                    "{kernel}: {cols} columns could overflow its sums; at most {k_max} are proven not to"
                )
            }
            KernelError::MisalignedWeights { kernel, offset } => {
                write!(
                    f,
                    "{kernel}: weights must start at a multiple of 64 bytes, these lie {offset} past one"
                )
            }
            KernelError::Length { kernel, operand, found, needed } => {
                write!(f, "{kernel}: {operand} of length {found}, {needed} needed")
            }
            KernelError::Padding { kernel, token } => {
                write!(
                    f,
                    "{kernel}: activation vector {token} is not zero between K and the next multiple of 16"
                )
            }
            KernelError::Tiles { kernel, found, tiles } => {
                write!(f, "{kernel}: row tiles {found:?} of a matrix of {tiles}")
            }
        }
    }
}

impl std::error::Error for KernelError {}

/// A kernel that this CPU can run. That one exists is the proof.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    descriptor: &'static Descriptor,
}

impl Kernel {
    /// The kernel, if and only if this CPU has what it needs.
    pub fn new(descriptor: &'static Descriptor) -> Option<Self> {
        (descriptor.isa.available)().then_some(Kernel { descriptor })
    }

    /// What kernel it is.
    pub fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }

    /// Computes rows `16 * tiles.start .. min(16 * tiles.end, rows)` of the exact products: the result of row r
    /// and vector t goes to `out[t * out_stride + r - 16 * tiles.start]`.
    ///
    /// # Errors
    /// [`KernelError`] for operands of the wrong shape, length, alignment or padding; nothing is written then.
    pub fn run(
        &self,
        problem: &Problem<'_>,
        tiles: Range<usize>,
        out: &mut [i32],
        out_stride: usize,
    ) -> Result<(), KernelError> {
        let k_atoms = self.check(problem, &tiles, out.len(), out_stride)?;
        let mut scratch = Scratch(MaybeUninit::uninit());
        let mut made = Vec::new();
        let acts = match (self.descriptor.interleaved, problem.interleaved) {
            (None, _) => problem.acts,
            (Some(_), Some(interleaved)) => interleaved,
            (Some(run), None) => {
                let padded = k_atoms * ATOM_COLS;
                made.resize(self.descriptor.tokens * interleaved_len(padded, run), 0);
                interleave(problem.acts, problem.act_stride, padded, run, &mut made);
                &made
            }
        };
        let made_codes;
        // Expanded weights begin with the first tile of the call.
        let (weights, base) = match (self.descriptor.expanded, problem.expanded) {
            (None, _) => (problem.weights.as_ptr(), 0),
            (Some(_), Some(codes)) => (codes.as_ptr(), tiles.start),
            (Some(fields), None) => {
                let tile_bytes = k_atoms * ATOM_BYTES;
                let packed = &problem.weights[tiles.start * tile_bytes..tiles.end * tile_bytes];
                made_codes = Codes::expanded(packed, fields);
                (made_codes.as_ptr().cast(), tiles.start)
            }
        };
        for call in Streams::covering(tiles.clone(), self.descriptor.streams) {
            let operands = Operands {
                weights,
                acts: acts.as_ptr(),
                act_stride: problem.act_stride,
                act_sums: problem.act_sums.as_ptr(),
                out: out[(call.first - tiles.start) * TILE_ROWS..].as_mut_ptr(),
                out_stride,
                first_tile: call.first - base,
                end_tile: call.first - base + call.steps,
                stream_tiles: call.distance,
                stream_out: call.distance * TILE_ROWS,
                rows: problem.rows - base * TILE_ROWS,
                k_atoms,
                scratch: scratch.0.as_mut_ptr().cast(),
            };
            // SAFETY: `Kernel::new` has seen that the CPU has the kernel's features, and `check` that the weights are
            // aligned and that all operands are as long as `Operands` says the kernel will read and write for these tiles,
            // of which the call's are some.
            unsafe { (self.descriptor.entry)(&operands) };
        }
        Ok(())
    }

    /// Checks every operand once; returns the atoms of a row tile.
    fn check(
        &self,
        problem: &Problem<'_>,
        tiles: &Range<usize>,
        out_len: usize,
        out_stride: usize,
    ) -> Result<usize, KernelError> {
        let Descriptor { name: kernel, shape, k_max, tokens, .. } = *self.descriptor;
        let Problem { rows, cols, weights, acts, act_stride, act_sums, interleaved, expanded } = *problem;
        if rows == 0 || cols == 0 || shape.is_some_and(|shape| shape != (rows, cols)) {
            return Err(KernelError::Shape { kernel, found: (rows, cols), expected: shape });
        }
        if cols > k_max {
            return Err(KernelError::TooManyColumns { kernel, cols, k_max });
        }
        let expanded = expanded.filter(|_| self.descriptor.expanded.is_some());
        for weights in [Some(weights), expanded].into_iter().flatten() {
            let offset = weights.as_ptr() as usize % WEIGHT_ALIGNMENT;
            if offset != 0 {
                return Err(KernelError::MisalignedWeights { kernel, offset });
            }
        }
        let (k_atoms, row_tiles) = (cols.div_ceil(ATOM_COLS), rows.div_ceil(TILE_ROWS));
        let padded = k_atoms * ATOM_COLS;
        if tiles.start > tiles.end || tiles.end > row_tiles {
            return Err(KernelError::Tiles { kernel, found: tiles.clone(), tiles: row_tiles });
        }
        let covered = tiles.end.saturating_mul(TILE_ROWS).min(rows).saturating_sub(tiles.start * TILE_ROWS);
        let at_least = |operand, found: usize, needed: Option<usize>| match needed {
            Some(needed) if found >= needed => Ok(()),
            _ => Err(KernelError::Length { kernel, operand, found, needed: needed.unwrap_or(usize::MAX) }),
        };
        let strided = |stride: usize, len: usize| stride.checked_mul(tokens - 1)?.checked_add(len);
        at_least("weights", weights.len(), row_tiles.checked_mul(k_atoms * ATOM_BYTES))?;
        if let Some(expanded) = expanded {
            let codes = tiles.len().checked_mul(k_atoms * ATOM_BYTES * EXPANSION);
            at_least("expanded weights", expanded.len(), codes)?;
        }
        at_least("activation stride", act_stride, Some(padded))?;
        at_least("activations", acts.len(), strided(act_stride, padded))?;
        if let (Some(interleaved), Some(run)) = (interleaved, self.descriptor.interleaved) {
            let needed = tokens.checked_mul(interleaved_len(padded, run));
            at_least("interleaved activations", interleaved.len(), needed)?;
        }
        at_least("activation sums", act_sums.len(), Some(tokens))?;
        at_least("output stride", if tokens == 1 { usize::MAX } else { out_stride }, Some(covered))?;
        at_least("output", out_len, strided(out_stride, covered))?;
        for token in 0..tokens {
            let vector = &acts[token * act_stride..][..padded];
            if vector[cols..].iter().any(|&q| q != 0) {
                return Err(KernelError::Padding { kernel, token });
            }
        }
        Ok(k_atoms)
    }
}
