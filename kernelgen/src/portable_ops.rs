// Operations of the portable back-end: sixteen rows of four bytes, one array each. Plain loops over arrays that
// the compiler turns into whatever vectors the target has.

/// Sixteen rows of four packed bytes.
type Bytes = [u8; 64];
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

/// Every byte anded with `MASK`.
#[inline(always)]
pub fn and<const MASK: u8>(x: Bytes) -> Bytes {
    x.map(|byte| byte & MASK)
}

/// Every byte shifted right by `BY` bits.
#[inline(always)]
pub fn shift_right<const BY: u32>(x: Bytes) -> Bytes {
    x.map(|byte| byte >> BY)
}

/// Every sum shifted right by `BY` bits.
#[inline(always)]
pub fn shift_sums<const BY: u32>(x: Sums) -> Sums {
    x.map(|sum| sum >> BY)
}

/// Adds to each row's sum the products of its four codes with the four activations.
#[inline(always)]
pub fn dot(mut acc: Sums, codes: Bytes, acts: [i8; 4]) -> Sums {
    let acts = acts.map(i32::from);
    for (row, sum) in acc.iter_mut().enumerate() {
        for (j, act) in acts.iter().enumerate() {
            *sum += i32::from(codes[4 * row + j]) * act;
        }
    }
    acc
}

/// a + b, row by row.
#[inline(always)]
pub fn add(mut a: Sums, b: Sums) -> Sums {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
    a
}

/// x - y, for every row.
#[inline(always)]
pub fn sub_scalar(x: Sums, y: i32) -> Sums {
    x.map(|sum| sum - y)
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
