//! The models of the Arm intrinsics against the silicon, or its emulator: extreme and random operands, bit for bit.

use kernelgen::interp::models::{Value, model, stored};
use libtest_mimic::Trial;
use tritforge::kernels::ISAS;
use tritforge_tests::{CANARY, Random};

use crate::on_cpu;
#[cfg(target_arch = "aarch64")]
use crate::silicon_arm::run as silicon;

/// No other architecture has these instructions; the trials are ignored there.
#[cfg(not(target_arch = "aarch64"))]
fn silicon(_: &str, _: &[Value]) -> Option<Vec<u8>> {
    None
}

/// What an instruction takes.
#[derive(Clone, Copy)]
pub enum Operand {
    /// A vector of so many bytes.
    Vector(usize),
    /// A scalar, sign extended from so many bits.
    Scalar(u32),
    /// A constant shift.
    Shift,
    /// The address of a store.
    Address,
    /// How many rows are left for a store.
    RowsLeft,
}

use Operand::{Address, RowsLeft, Scalar, Shift, Vector};

/// Instructions whose models are compared with what they model: name, instruction set and operands.
pub const CHECKED: [(&str, &str, &[Operand]); 18] = [
    ("neon_ops::add_pair", "neon", &[Vector(32), Vector(32)]),
    ("neon_ops::products", "neon", &[Vector(16), Vector(16)]),
    ("neon_ops::quad", "neon", &[Scalar(32)]),
    ("neon_ops::sdot", "neondotprod", &[Vector(16), Vector(16), Vector(16)]),
    ("neon_ops::shift_pair", "neon", &[Shift, Vector(32)]),
    ("neon_ops::store_part", "neon", &[Address, RowsLeft, Vector(16)]),
    ("neon_ops::usdot", "neoni8mm", &[Vector(16), Vector(16), Vector(16)]),
    ("neon_ops::widen", "neon", &[Vector(16), Vector(32)]),
    ("neon_ops::zero_pair", "neon", &[]),
    ("vaddq_s32", "neon", &[Vector(16), Vector(16)]),
    ("vandq_s8", "neon", &[Vector(16), Vector(16)]),
    ("vdupq_n_s32", "neon", &[Scalar(32)]),
    ("vdupq_n_s8", "neon", &[Scalar(8)]),
    ("vld1q_s8", "neon", &[Vector(16)]),
    ("vshrq_n_s32", "neon", &[Shift, Vector(16)]),
    ("vshrq_n_s8", "neon", &[Shift, Vector(16)]),
    ("vst1q_s32", "neon", &[Address, Vector(16)]),
    ("vsubq_s32", "neon", &[Vector(16), Vector(16)]),
];

/// Random operands for each instruction, besides every combination of extreme ones.
const ROUNDS: usize = 100;

/// One trial an instruction.
pub fn trials() -> Vec<Trial> {
    let trial = |&(name, isa, operands): &(&'static str, &str, &'static [Operand])| {
        let isa = ISAS.iter().find(|known| known.id == isa).expect("an ISA that kernels are generated for");
        on_cpu(format!("models::{name}"), (isa.available)(), isa.features, move || compare(name, operands))
    };
    CHECKED.iter().map(trial).collect()
}

impl Operand {
    /// Values whose sums, products and shifts reach every end.
    fn extremes(self) -> Vec<Value> {
        match self {
            Vector(width) => {
                [0, -1, i32::MIN, i32::MAX, 0x7f7f_7f7f, 0x8080_8080_u32 as i32, 0x8000_8000_u32 as i32]
                    .map(|lane| Value::Bytes(lane.to_le_bytes().repeat(width / 4)))
                    .to_vec()
            }
            Scalar(bits) => [0, -1, -1 << (bits - 1), !(-1 << (bits - 1))].map(Value::Scalar).to_vec(),
            Shift => [2, 4, 6].map(Value::Scalar).to_vec(),
            Address => vec![Value::Pointer],
            RowsLeft => (-3..=4).map(Value::Scalar).collect(),
        }
    }

    fn random(self, random: &mut Random) -> Value {
        match self {
            Vector(width) => Value::Bytes((0..width).map(|_| random.bits() as u8).collect()),
            Scalar(bits) => Value::Scalar((random.bits() as i32 >> (32 - bits)).into()),
            Shift | Address | RowsLeft => {
                let values = self.extremes();
                values[random.bits() as usize % values.len()].clone()
            }
        }
    }
}

fn compare(name: &str, operands: &[Operand]) -> Result<(), String> {
    let mut sets = vec![Vec::new()];
    for operand in operands {
        let extend = |set: Vec<Value>| {
            operand.extremes().into_iter().map(move |value| set.iter().cloned().chain([value]).collect())
        };
        sets = sets.into_iter().flat_map(extend).collect();
    }
    let mut random = Random::new(7);
    sets.extend((0..ROUNDS).map(|_| operands.iter().map(|operand| operand.random(&mut random)).collect()));
    for args in sets {
        let modelled = match stored(name, &args) {
            Some(lanes) => {
                let kept = lanes.iter().map(|lane| lane.unwrap_or(CANARY));
                Some(kept.flat_map(i32::to_le_bytes).collect())
            }
            None => model(name, &args).and_then(|value| match value {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            }),
        };
        let real = silicon(name, &args);
        if real.is_none() || modelled != real {
            return Err(format!("{name}({args:?}) is modelled as {modelled:?}, it is {real:?}"));
        }
    }
    Ok(())
}
