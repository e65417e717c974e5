//! The AMX kernels as they are linked, on a CPU that has AVX-512 but no tiles: the CPU executes the kernel itself, and
//! each tile instruction, which it refuses, is decoded from the bytes at which it stopped and done by the model. So what
//! the printer, the register allocator and the assembler made is executed, not what the interpreter thinks it is.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::OnceLock;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};
use kernelgen::interp::tiles::Tiles;
use libtest_mimic::Trial;
use tritforge::kernels::abi::{ATOM_COLS, Descriptor, Operands, SCRATCH_BYTES};
use tritforge::kernels::{DESCRIPTORS, ISAS};
use tritforge_tests::{CANARY, Case, GENERIC_SHAPE, Placed};

use crate::agreement::random;

/// Rows and columns: less than an atom, every rest of a tile of four, rests of rows, long rows, whole tiles in several steps.
const SHAPES: [(usize, usize); 11] = [
    (1, 1),
    (16, 16),
    (5, 30),
    (37, 47),
    (16, 64),
    (33, 70),
    (17, 100),
    (20, 112),
    (35, 5460),
    (200, 128),
    GENERIC_SHAPE,
];

/// The trials: one a linked kernel.
pub fn trials() -> Vec<Trial> {
    let available = |id: &str| ISAS.iter().any(|isa| isa.id == id && (isa.available)());
    let kernels = DESCRIPTORS.iter().filter(|descriptor| descriptor.isa.id == "amx");
    kernels
        .map(|descriptor| {
            let name = format!("{}::trapped_equals_naive", descriptor.name);
            let vectors = available("avx512vnni") && is_x86_feature_detected!("gfni");
            let ignored = match (available("amx"), vectors) {
                (true, _) => Some("this CPU has tiles, nothing is trapped"),
                (_, false) => Some("this CPU lacks avx512f+avx512bw+avx512vnni+gfni"),
                _ => None,
            };
            let trial = Trial::test(name, move || Ok(check(descriptor)?));
            match ignored {
                Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
                None => trial,
            }
        })
        .collect()
}

fn check(descriptor: &'static Descriptor) -> Result<(), String> {
    let tokens = descriptor.tokens;
    for (rows, cols) in SHAPES {
        let case = random(tokens, (rows, cols));
        let tiles = case.tiles();
        for range in [0..tiles, tiles - 1..tiles, 0..1, 0..0] {
            for (act_gap, out_gap, offset) in [(0, 0, 0), (13, 3, 7)] {
                call(descriptor, &case, range.clone(), act_gap, out_gap, offset)?;
            }
        }
        for (weight, act) in [(1, 127), (1, -128), (-1, 127), (-1, -128)] {
            let case = Case::uniform_for(tokens, rows.min(20), cols, weight, act);
            call(descriptor, &case, 0..case.tiles(), 0, 0, 0)?;
        }
    }
    Ok(())
}

/// Runs the kernel on some row tiles, with so many activations and results between the vectors' and activations that
/// start so many bytes past a multiple of 64.
fn call(
    descriptor: &Descriptor,
    case: &Case,
    tiles: Range<usize>,
    act_gap: usize,
    out_gap: usize,
    offset: usize,
) -> Result<(), String> {
    let tokens = descriptor.tokens;
    let act_stride = case.stride + act_gap;
    let mut acts = Placed::new((tokens - 1) * act_stride + case.stride, offset);
    acts.fill(77);
    for token in 0..tokens {
        acts[token * act_stride..][..case.stride]
            .copy_from_slice(&case.acts[token * case.stride..][..case.stride]);
    }
    let covered = case.rows_of(&tiles);
    let out_stride = covered.len() + out_gap;
    let mut expected = vec![CANARY; tokens * out_stride + 16];
    for token in 0..tokens {
        expected[token * out_stride..][..covered.len()]
            .copy_from_slice(&case.expected[token * case.rows..][covered.clone()]);
    }
    let mut out = vec![CANARY; expected.len()];
    let mut scratch: Placed<u8> = Placed::new(SCRATCH_BYTES, 0);
    scratch.fill(0xa5);
    let operands = Operands {
        weights: case.weights.as_ptr(),
        acts: acts.as_ptr(),
        act_stride,
        act_sums: case.sums.as_ptr(),
        out: out.as_mut_ptr(),
        out_stride,
        first_tile: tiles.start,
        end_tile: tiles.end,
        stream_tiles: 0,
        stream_out: 0,
        rows: case.rows,
        k_atoms: case.cols.div_ceil(ATOM_COLS),
        scratch: scratch.as_mut_ptr(),
    };
    let range = |of: &[u8]| of.as_ptr() as usize..of.as_ptr() as usize + of.len();
    // SAFETY: activations are bytes.
    let acts = unsafe { std::slice::from_raw_parts(acts.as_ptr().cast::<u8>(), acts.len()) };
    let memory = Memory { readable: [range(acts), range(&scratch)], writable: range(&scratch) };
    trap();
    STATE.with_borrow_mut(|state| *state = State { tiles: Tiles::new(), memory, trapped: 0 });
    // SAFETY: the CPU has the kernel's target features, what else it executes is trapped, and the operands are as long
    // as `Operands` says.
    unsafe { (descriptor.entry)(&operands) };
    let trapped = STATE.with_borrow(|state| state.trapped);
    let place = format!("{}x{}, tiles {tiles:?}, gaps {act_gap} and {out_gap}", case.rows, case.cols);
    if (trapped == 0) != tiles.is_empty() {
        return Err(format!("{place}: {trapped} instructions were trapped"));
    }
    if STATE.with_borrow(|state| state.tiles.shape(0).is_ok()) {
        return Err(format!("{place}: the tiles are not released"));
    }
    match out.iter().zip(&expected).position(|(found, expected)| found != expected) {
        None => Ok(()),
        Some(at) => Err(format!("{place}: value {at} of the results is {}, not {}", out[at], expected[at])),
    }
}

/// The addresses that tile instructions may touch.
struct Memory {
    readable: [Range<usize>; 2],
    writable: Range<usize>,
}

struct State {
    tiles: Tiles,
    memory: Memory,
    trapped: usize,
}

thread_local! {
    static STATE: RefCell<State> = const {
        RefCell::new(State {
            tiles: Tiles::new(),
            memory: Memory { readable: [0..0, 0..0], writable: 0..0 },
            trapped: 0,
        })
    };
}

/// Has instructions that the CPU refuses done by [`on_illegal_instruction`], in all threads.
fn trap() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // SAFETY: all zeros are a valid `sigaction`, and the handler has the signature that SA_SIGINFO asks for.
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_illegal_instruction as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut())
        };
        assert_eq!(installed, 0, "the handler of illegal instructions cannot be installed");
    });
}

/// Does the instruction at which a thread stopped, and lets the thread go on behind it. It was stopped inside of a
/// kernel, which holds no lock and allocates nothing, so that the handler may do both.
extern "C" fn on_illegal_instruction(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes the context of the thread, which is ours until we return.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let ip = registers[libc::REG_RIP as usize] as u64;
    // SAFETY: an instruction has at most 15 bytes; `tilerelease` and a return follow the last of a kernel, and no kernel
    // is the last of the program's functions.
    let code = unsafe { std::slice::from_raw_parts(ip as *const u8, 15) };
    let instruction = Decoder::with_ip(64, code, ip, DecoderOptions::NONE).decode();
    let done = STATE.with_borrow_mut(|state| {
        state.trapped += 1;
        state.execute(&instruction, registers)
    });
    if let Err(reason) = done {
        eprintln!("{:?} at {ip:#x}: {reason}", instruction.code());
        std::process::abort();
    }
    registers[libc::REG_RIP as usize] += instruction.len() as i64;
}

impl State {
    fn execute(&mut self, instruction: &Instruction, registers: &[i64]) -> Result<(), String> {
        let tile = |operand: u32| instruction.op_register(operand).number();
        let fault = |fault: kernelgen::interp::Fault| fault.to_string();
        match instruction.code() {
            Code::VEX_Ldtilecfg_m512 => {
                let at = address(instruction, registers, 0)?;
                // SAFETY: the operand of a configuration is 64 bytes of the program.
                let bytes = unsafe { (at as *const [u8; 64]).read() };
                self.tiles.load_config(&bytes).map_err(fault)
            }
            Code::VEX_Tilezero_tmm => self.tiles.zero(tile(0)).map_err(fault),
            Code::VEX_Tileloadd_tmm_sibmem => {
                let rows = self.tiles.shape(tile(0)).map_err(fault)?;
                let mut lines = Vec::new();
                for row in 0..rows.rows {
                    let at = address(instruction, registers, row)?;
                    let inside = |of: &Range<usize>| of.start <= at && at + rows.row_bytes <= of.end;
                    if !self.memory.readable.iter().any(inside) {
                        return Err(format!("row {row} is read at {at:#x}, outside of the operands"));
                    }
                    // SAFETY: these bytes lie inside of an operand.
                    lines.push(
                        unsafe { std::slice::from_raw_parts(at as *const u8, rows.row_bytes) }.to_vec(),
                    );
                }
                self.tiles.load(tile(0), |row, _| Ok(lines[row].clone())).map_err(fault)
            }
            Code::VEX_Tilestored_sibmem_tmm => {
                for (row, bytes) in self.tiles.rows(tile(1)).map_err(fault)?.into_iter().enumerate() {
                    let at = address(instruction, registers, row)?;
                    if at < self.memory.writable.start || at + bytes.len() > self.memory.writable.end {
                        return Err(format!("row {row} is written at {at:#x}, outside of the scratch"));
                    }
                    // SAFETY: these bytes lie inside of the scratch, which nothing else uses during the call.
                    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
                }
                Ok(())
            }
            Code::VEX_Tdpbsud_tmm_tmm_tmm => {
                self.tiles.dot_signed_unsigned(tile(0), tile(1), tile(2)).map_err(fault)
            }
            Code::VEX_Tilerelease => {
                self.tiles.release();
                Ok(())
            }
            _ => Err("this is no instruction on tiles".to_owned()),
        }
    }
}

/// The address of a row of an instruction's memory operand: rows lie as far apart as its index register says.
fn address(instruction: &Instruction, registers: &[i64], row: usize) -> Result<usize, String> {
    let operands = 0..instruction.op_count();
    if operands.into_iter().all(|i| instruction.op_kind(i) != OpKind::Memory) {
        return Err("it has no memory operand".to_owned());
    }
    let value = |register: Register| match register {
        Register::None => Ok(0),
        _ => general(register).map(|at| registers[at as usize]).ok_or(format!("{register:?} is no operand")),
    };
    if instruction.is_ip_rel_memory_operand() {
        return Ok(instruction.ip_rel_memory_address() as usize);
    }
    let stride = value(instruction.memory_index())? * i64::from(instruction.memory_index_scale());
    let start = value(instruction.memory_base())? + instruction.memory_displacement64() as i64;
    Ok((start + row as i64 * stride) as usize)
}

fn general(register: Register) -> Option<libc::c_int> {
    Some(match register {
        Register::RAX => libc::REG_RAX,
        Register::RBX => libc::REG_RBX,
        Register::RCX => libc::REG_RCX,
        Register::RDX => libc::REG_RDX,
        Register::RSI => libc::REG_RSI,
        Register::RDI => libc::REG_RDI,
        Register::RBP => libc::REG_RBP,
        Register::R8 => libc::REG_R8,
        Register::R9 => libc::REG_R9,
        Register::R10 => libc::REG_R10,
        Register::R11 => libc::REG_R11,
        Register::R12 => libc::REG_R12,
        Register::R13 => libc::REG_R13,
        Register::R14 => libc::REG_R14,
        Register::R15 => libc::REG_R15,
        _ => return None,
    })
}
