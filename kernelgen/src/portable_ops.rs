// Operations of the portable back-end: sixteen rows of four bytes, one array each. Loops that change arrays in place,
// which the compiler turns into whatever vectors the target has (it does not do so for `map` over an array). Sums wrap,
// as they do in vector registers; that none ever does is what the range proof shows.

/// Sixteen rows of four packed bytes.
type Bytes = [u8; 64];
/// Sixteen rows of four i16 sums.
type Narrow = [i16; 64];
/// Sixteen rows of one sum.
type Sums = [i32; 16];

/// The 64 bytes at `from`.
///
/// # Safety
/// `from` must be valid for reading 64 bytes.
#[inline(always)]
pub unsafe fn load(from: *const u8) -> Bytes {
    // SAFETY: the caller promises 64 readable bytes; the read needs no alignment.
    unsafe { from.cast::<Bytes>().read_unaligned() }
}

/// The four activations at `from`.
///
/// # Safety
/// `from` must be valid for reading four bytes.
#[inline(always)]
pub unsafe fn quad(from: *const i8) -> [i8; 4] {
    // SAFETY: the caller promises four readable bytes; the read needs no alignment.
    unsafe { from.cast::<[i8; 4]>().read_unaligned() }
}

/// Sums of zero.
#[inline(always)]
pub fn zero() -> Sums {
    [0; 16]
}

/// Narrow sums of zero.
#[inline(always)]
pub fn zero_narrow() -> Narrow {
    [0; 64]
}

/// Every byte anded with `MASK`.
#[inline(always)]
pub fn and<const MASK: u8>(mut x: Bytes) -> Bytes {
    for byte in &mut x {
        *byte &= MASK;
    }
    x
}

/// Every byte shifted right by `BY` bits.
#[inline(always)]
pub fn shift_right<const BY: u32>(mut x: Bytes) -> Bytes {
    for byte in &mut x {
        *byte >>= BY;
    }
    x
}

/// Every narrow sum shifted right by `BY` bits.
#[inline(always)]
pub fn shift_narrow<const BY: u32>(mut x: Narrow) -> Narrow {
    for sum in &mut x {
        *sum >>= BY;
    }
    x
}

/// The products of each row's four codes with the four activations.
#[inline(always)]
pub fn dot_narrow(codes: Bytes, acts: [i8; 4]) -> Narrow {
    let [a, b, c, d] = acts.map(i16::from);
    // Two rows at a time: eight i16 are a vector of 128 bits.
    let acts = [a, b, c, d, a, b, c, d];
    let mut products = [0; 64];
    for (products, codes) in products.chunks_exact_mut(8).zip(codes.chunks_exact(8)) {
        for i in 0..8 {
            products[i] = i16::from(codes[i]).wrapping_mul(acts[i]);
        }
    }
    products
}

/// a + b.
#[inline(always)]
pub fn add_narrow(mut a: Narrow, b: Narrow) -> Narrow {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.wrapping_add(b);
    }
    a
}

/// Adds to each row's sum its four narrow sums.
#[inline(always)]
pub fn widen(mut acc: Sums, narrow: Narrow) -> Sums {
    for (sum, four) in acc.iter_mut().zip(narrow.chunks_exact(4)) {
        for narrow in four {
            *sum = sum.wrapping_add(i32::from(*narrow));
        }
    }
    acc
}

/// x - y, for every row.
#[inline(always)]
pub fn sub_scalar(mut x: Sums, y: i32) -> Sums {
    for sum in &mut x {
        *sum = sum.wrapping_sub(y);
    }
    x
}

/// Writes the first `rows_left` sums, all sixteen where there are more.
///
/// # Safety
/// `to` must be valid for writing `rows_left` (at most 16) values of four bytes; it needs no alignment.
#[inline(always)]
pub unsafe fn store(to: *mut i32, rows_left: i32, x: Sums) {
    for (row, sum) in x.into_iter().enumerate().take(rows_left.max(0) as usize) {
        // SAFETY: `row` is below `rows_left`, and the caller promises that many writable values.
        unsafe { to.add(row).write_unaligned(sum) };
    }
}
