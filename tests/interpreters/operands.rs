//! Models of intrinsics against what they model, where an instruction's operands say all that there is to try: extreme
//! and random ones, bit for bit.

use kernelgen::interp::models::{Value, model, stored};
use libtest_mimic::Trial;
use tritforge::kernels::ISAS;
use tritforge_tests::trials::on_cpu;
use tritforge_tests::{CANARY, Random};

/// Runs an instruction; `None` where it is not known. The result of a store is what stands at its address afterwards.
pub type Silicon = fn(&str, &[Value]) -> Option<Vec<u8>>;

/// The silicon of another architecture, whose trials are ignored.
pub fn missing(_: &str, _: &[Value]) -> Option<Vec<u8>> {
    None
}

/// An instruction whose model is compared with what it models: name, instruction set and operands.
pub type Checked = (&'static str, &'static str, &'static [Operand]);

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

/// Random operands for each instruction, besides every combination of extreme ones.
const ROUNDS: usize = 100;

/// One trial an instruction.
pub fn trials(checked: &[Checked], silicon: Silicon) -> impl Iterator<Item = Trial> {
    checked.iter().map(move |&(name, isa, operands)| {
        let isa = ISAS.iter().find(|known| known.id == isa).expect("an ISA that kernels are generated for");
        let run = move || compare(name, operands, silicon);
        on_cpu(format!("models::{name}"), isa, run)
    })
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

fn compare(name: &str, operands: &[Operand], silicon: Silicon) -> Result<(), String> {
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
