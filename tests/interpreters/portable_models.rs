//! The models of the portable operations and of the mask of a partial store, on every machine.

use kernelgen::interp::models::{Value, model, stored};
use kernelgen::portable_ops as ops;
use libtest_mimic::{Failed, Trial};
use tritforge::kernels::abi::tail_mask16;
use tritforge_tests::{CANARY, Random};

const ROUNDS: usize = 200;

/// The trials.
pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, run: fn() -> Result<(), String>| Trial::test(name, move || run().map_err(Failed::from));
    vec![
        trial("models::abi::tail_mask16", tail_mask),
        trial("models::portable_ops::bytes", bytes),
        trial("models::portable_ops::narrow_sums", narrow_sums),
        trial("models::portable_ops::sums", sums),
        trial("models::portable_ops::store", store),
    ]
}

fn tail_mask() -> Result<(), String> {
    (-40..=40).try_for_each(|left: i32| {
        let mask = Value::Scalar(tail_mask16(left).into());
        expect("abi::tail_mask16", &[Value::Scalar(left.into())], mask)
    })
}

fn random_bytes<const N: usize>(random: &mut Random) -> [u8; N] {
    std::array::from_fn(|_| random.bits() as u8)
}

fn random_sums(random: &mut Random) -> [i32; 16] {
    std::array::from_fn(|_| random.bits() as i32)
}

fn random_narrow(random: &mut Random) -> [i16; 64] {
    std::array::from_fn(|_| random.bits() as i16)
}

fn of_narrow(sums: [i16; 64]) -> Value {
    Value::Bytes(sums.iter().flat_map(|sum| sum.to_le_bytes()).collect())
}

fn of_sums(sums: [i32; 16]) -> Value {
    Value::Bytes(sums.iter().flat_map(|sum| sum.to_le_bytes()).collect())
}

fn expect(name: &str, args: &[Value], expected: Value) -> Result<(), String> {
    match model(name, args) {
        Some(found) if found == expected => Ok(()),
        found => Err(format!("{name}({args:?}) is modelled as {found:?}, it is {expected:?}")),
    }
}

fn bytes() -> Result<(), String> {
    use Value::{Bytes, Scalar};
    let mut random = Random::new(1);
    for _ in 0..ROUNDS {
        let x: [u8; 64] = random_bytes(&mut random);
        let of = |bytes: [u8; 64]| Bytes(bytes.to_vec());
        // SAFETY: the array has 64 bytes.
        let loaded = unsafe { ops::load(x.as_ptr()) };
        expect("portable_ops::load", &[of(x)], of(loaded))?;
        let acts: [u8; 4] = random_bytes(&mut random);
        // SAFETY: the array has four bytes.
        let quad = unsafe { ops::quad(acts.as_ptr().cast()) };
        expect("portable_ops::quad", &[Bytes(acts.to_vec())], Bytes(quad.map(|q| q as u8).to_vec()))?;
        for (mask, found) in [
            (0x03, ops::and::<0x03>(x)),
            (0x0c, ops::and::<0x0c>(x)),
            (0x30, ops::and::<0x30>(x)),
            (0xc0, ops::and::<0xc0>(x)),
        ] {
            expect("portable_ops::and", &[Scalar(mask), of(x)], of(found))?;
        }
        for (by, found) in
            [(2, ops::shift_right::<2>(x)), (4, ops::shift_right::<4>(x)), (6, ops::shift_right::<6>(x))]
        {
            expect("portable_ops::shift_right", &[Scalar(by), of(x)], of(found))?;
        }
    }
    Ok(())
}

fn narrow_sums() -> Result<(), String> {
    use Value::{Bytes, Scalar};
    let mut random = Random::new(2);
    expect("portable_ops::zero_narrow", &[], of_narrow(ops::zero_narrow()))?;
    for round in 0..ROUNDS {
        let (a, b) = (random_narrow(&mut random), random_narrow(&mut random));
        expect("portable_ops::add_narrow", &[of_narrow(a), of_narrow(b)], of_narrow(ops::add_narrow(a, b)))?;
        for (by, found) in
            [(2, ops::shift_narrow::<2>(a)), (4, ops::shift_narrow::<4>(a)), (6, ops::shift_narrow::<6>(a))]
        {
            expect("portable_ops::shift_narrow", &[Scalar(by), of_narrow(a)], of_narrow(found))?;
        }
        let codes: [u8; 64] = if round == 0 { [255; 64] } else { random_bytes(&mut random) };
        let acts: [u8; 4] = if round < 2 { [0x80; 4] } else { random_bytes(&mut random) };
        expect(
            "portable_ops::dot_narrow",
            &[Bytes(codes.to_vec()), Bytes(acts.to_vec())],
            of_narrow(ops::dot_narrow(codes, acts.map(|q| q as i8))),
        )?;
    }
    Ok(())
}

fn sums() -> Result<(), String> {
    let mut random = Random::new(3);
    expect("portable_ops::zero", &[], of_sums(ops::zero()))?;
    for _ in 0..ROUNDS {
        let (acc, narrow) = (random_sums(&mut random), random_narrow(&mut random));
        expect("portable_ops::widen", &[of_sums(acc), of_narrow(narrow)], of_sums(ops::widen(acc, narrow)))?;
        let y = random.bits() as i32;
        expect(
            "portable_ops::sub_scalar",
            &[of_sums(acc), Value::Scalar(y.into())],
            of_sums(ops::sub_scalar(acc, y)),
        )?;
    }
    Ok(())
}

fn store() -> Result<(), String> {
    let x = random_sums(&mut Random::new(4));
    for left in -3..=20 {
        let mut written = [CANARY; 16];
        // SAFETY: at most sixteen values are written, and the array has sixteen.
        unsafe { ops::store(written.as_mut_ptr(), left.min(16), x) };
        let args = [Value::Pointer, Value::Scalar(left.into()), of_sums(x)];
        let lanes = stored("portable_ops::store", &args).ok_or("no model")?;
        let modelled: Vec<i32> = lanes.iter().map(|lane| lane.unwrap_or(CANARY)).collect();
        if modelled != written {
            return Err(format!("{left} rows left: {modelled:?} instead of {written:?}"));
        }
    }
    Ok(())
}
