//! Prints a lowered kernel as Rust: statements are built with quote, and set one a line under a comment that
//! names the IR statement they come from (quote and prettyplease would drop the comments).

use std::fmt::Write as _;

use proc_macro2::{Delimiter, Ident, Literal, Spacing, TokenStream, TokenTree};
use quote::{format_ident, quote};

use crate::compile::Kernel;
use crate::ir::{Count, Cursor};
use crate::layout::{ATOM_COLS, TILE_ROWS};
use crate::machine::{Arg, Inst, MStmt, Reg};

mod region;

/// The kernel as a documented `unsafe fn`, without the module around it.
pub fn kernel(kernel: &Kernel) -> String {
    let mut printer = Printer { out: String::new(), depth: 0, kernel };
    printer.function();
    printer.out
}

/// Facts about a kernel, one a line: the range proof, the register pressure, the static cost.
pub fn facts(kernel: &Kernel) -> Vec<String> {
    let mut lines = vec![format!("Range proof, for K up to {}:", kernel.k_max)];
    for proven in &kernel.proof {
        let interval = proven.interval;
        let scale = match interval.scale {
            0 | 32.. => String::new(),
            s => format!(", a multiple of {}", 1u64 << s),
        };
        lines.push(format!(
            "  `{}` stays in {}..={} ({} bits){scale}",
            proven.value, interval.lo, interval.hi, proven.bits
        ));
    }
    if let Some(fold) = kernel.program.fold {
        lines.push(format!("Widened to i32 every {fold} atoms ({} columns).", fold * ATOM_COLS));
    }
    let registers = match kernel.spec.isa.registers() {
        Some(available) => format!("{} of {available}", kernel.pressure.registers),
        None => "left to the compiler".to_owned(),
    };
    lines.push(format!("Vector registers: {registers}."));
    if let Some(region) = &kernel.machine.region {
        lines.push(format!("Tile registers: {} of {}.", region.tiles.len(), crate::region::TILES));
    }
    let cost = &kernel.cost;
    lines.push(format!(
        "Static cost for 256 weights: {:.2} cycles, {:.2} vector instructions; {} instructions of text; reads {} bytes ahead.",
        cost.cycles_per_256_weights, cost.vector_ops_per_256_weights, cost.text_instructions, cost.overfetch_bytes
    ));
    lines
}

struct Printer<'a> {
    out: String,
    depth: usize,
    kernel: &'a Kernel,
}

impl Printer<'_> {
    fn line(&mut self, text: impl AsRef<str>) {
        let indent = 4 * self.depth;
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{:indent$}{}", "", text.as_ref());
    }

    fn tokens(&mut self, tokens: TokenStream) {
        self.line(spaced(tokens));
    }

    fn open(&mut self, tokens: TokenStream) {
        let mut head = spaced(tokens);
        head.push_str(" {");
        self.line(head);
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    fn function(&mut self) {
        let kernel = self.kernel;
        self.line(format!("/// `{}`", kernel.name));
        self.line("///");
        for fact in facts(kernel) {
            self.line(format!("/// {fact}"));
        }
        self.line("///");
        self.line("/// # Safety");
        self.line("/// The CPU must have the kernel's target features, and `p` must describe memory as `Operands` says.");
        let features = kernel.spec.isa.features().join(",");
        if !features.is_empty() {
            self.tokens(quote!(#[target_feature(enable = #features)]));
        }
        let name = format_ident!("{}", kernel.name);
        self.open(quote!(pub unsafe extern "C" fn #name(p: &abi::Operands)));
        self.line("// SAFETY: the caller promises the features and the memory; every address below is inside of it,");
        self.line("// for a tile has `k_atoms` atoms and a vector `k_atoms * 16` activations.");
        self.open(quote!(unsafe));
        for (reg, inst) in &kernel.machine.setup {
            self.tokens(self.define(*reg, inst, false));
        }
        if let Some(tiles) = &kernel.machine.region {
            region::print(self, tiles);
        } else {
            self.open(quote!(for tile in p.first_tile..p.end_tile));
            self.tokens(quote!(let rows = p.rows_in(tile);));
            let tile_rows = Literal::usize_unsuffixed(TILE_ROWS);
            self.tokens(quote!(let out = p.out.add((tile - p.first_tile) * #tile_rows);));
            for stream in 1..kernel.machine.streams {
                let (tile, out) = (of_stream("tile", stream), of_stream("out", stream));
                let rows = of_stream("rows", stream);
                let times = (stream > 1).then(|| Literal::usize_unsuffixed(stream)).map(|n| quote!(#n *));
                self.tokens(quote!(let #tile = tile + #times p.stream_tiles;));
                self.tokens(quote!(let #rows = p.rows_in(#tile);));
                self.tokens(quote!(let #out = out.add(#times p.stream_out);));
            }
            self.block(&kernel.machine.body);
            self.close();
        }
        self.close();
        self.close();
    }

    fn block(&mut self, stmts: &[MStmt]) {
        for (i, stmt) in stmts.iter().enumerate() {
            match stmt {
                // An IR statement that needs no instruction leaves no comment.
                MStmt::Comment(_) if matches!(stmts.get(i + 1), None | Some(MStmt::Comment(_))) => {}
                MStmt::Comment(text) => self.line(format!("// {text}")),
                MStmt::Let(reg, inst) => {
                    let mutable = self.is_set(*reg);
                    self.tokens(self.define(*reg, inst, mutable));
                }
                MStmt::Set(reg, inst) => {
                    let (reg, value) = (name(*reg), self.call(inst));
                    self.tokens(quote!(#reg = #value;));
                }
                MStmt::Run(inst) => {
                    let call = self.call(inst);
                    self.tokens(quote!(#call;));
                }
                MStmt::SwapStage => {
                    unreachable!("what is staged is for tiles, which are printed as a region")
                }
                MStmt::Store { stream: 0, first_row, rows, whole, part } => {
                    self.store(first_row + rows, whole, part);
                }
                MStmt::Store { stream, first_row, rows, whole, part } => {
                    self.line("{");
                    self.depth += 1;
                    let (of_rows, of_out) = (of_stream("rows", *stream), of_stream("out", *stream));
                    self.tokens(quote!(let rows = #of_rows;));
                    self.tokens(quote!(let out = #of_out;));
                    self.store(first_row + rows, whole, part);
                    self.close();
                }
                // The sums of a stream's turn are defined in it and widened after it, so that it is no scope.
                MStmt::Repeat { count, atoms, body } if count.is_once(*atoms) => self.block(body),
                MStmt::Repeat { count, atoms, body } => {
                    let times = self.times(count);
                    self.open(quote!(for _ in 0..#times));
                    self.block(body);
                    if *atoms > 0 {
                        let bytes = Literal::usize_unsuffixed(atoms * self.kernel.machine.atom_bytes);
                        let vectors = self.interleaved().unwrap_or(1);
                        let columns = Literal::usize_unsuffixed(atoms * ATOM_COLS * vectors);
                        for w in self.weight_cursors() {
                            self.tokens(quote!(#w = #w.add(#bytes);));
                        }
                        for a in self.act_cursors() {
                            self.tokens(quote!(#a = #a.add(#columns);));
                        }
                    }
                    self.close();
                }
                MStmt::Pass(body) => {
                    self.line("{");
                    self.depth += 1;
                    self.cursors();
                    self.block(body);
                    self.close();
                }
            }
        }
    }

    /// The results of a tile that has `end` rows or fewer.
    fn store(&mut self, end: usize, whole: &[MStmt], part: &[MStmt]) {
        if whole == part {
            return self.block(whole);
        }
        let end = Literal::usize_unsuffixed(end);
        self.open(quote!(if rows >= #end));
        self.block(whole);
        self.depth -= 1;
        self.line("} else {");
        self.depth += 1;
        self.block(part);
        self.close();
    }

    /// The cursor into the weights of each stream.
    fn weight_cursors(&self) -> Vec<Ident> {
        (0..self.kernel.machine.streams).map(|stream| of_stream("w", stream)).collect()
    }

    /// The tokens whose activations are interleaved, if they are.
    fn interleaved(&self) -> Option<usize> {
        self.kernel.spec.schedule.interleaved.then_some(self.kernel.machine.tokens)
    }

    /// The cursor into the activations of each token, or the one into all of theirs.
    fn act_cursors(&self) -> Vec<Ident> {
        let cursors = if self.interleaved().is_some() { 1 } else { self.kernel.machine.tokens };
        (0..cursors).map(|token| format_ident!("a{token}")).collect()
    }

    fn cursors(&mut self) {
        let atom_bytes = self.kernel.machine.atom_bytes;
        for (stream, w) in self.weight_cursors().into_iter().enumerate() {
            let tile = of_stream("tile", stream);
            match self.kernel.machine.k_atoms {
                Some(k_atoms) => {
                    let tile_bytes = Literal::usize_unsuffixed(k_atoms * atom_bytes);
                    self.tokens(quote!(let mut #w = p.weights.add(#tile * #tile_bytes);));
                }
                None => {
                    let atom_bytes = Literal::usize_unsuffixed(atom_bytes);
                    self.tokens(quote!(let mut #w = p.weights.add(#tile * p.k_atoms * #atom_bytes);));
                }
            }
        }
        for (token, a) in self.act_cursors().into_iter().enumerate() {
            let offset = match token {
                0 => quote!(p.acts),
                1 => quote!(p.acts.add(p.act_stride)),
                _ => {
                    let token = Literal::usize_unsuffixed(token);
                    quote!(p.acts.add(#token * p.act_stride))
                }
            };
            self.tokens(quote!(let mut #a = #offset;));
        }
    }

    fn times(&self, count: &Count) -> TokenStream {
        if let Some(fixed) = count.fixed {
            let fixed = Literal::usize_unsuffixed(fixed);
            return quote!(#fixed);
        }
        let atoms = match count.modulo {
            Some(modulo) => {
                let modulo = Literal::usize_unsuffixed(modulo);
                quote!(p.k_atoms % #modulo)
            }
            None => quote!(p.k_atoms),
        };
        match (count.div, count.modulo) {
            (1, None) => atoms,
            (1, Some(_)) => quote!((#atoms)),
            (div, modulo) => {
                let div = Literal::usize_unsuffixed(div);
                let atoms = if modulo.is_some() { quote!((#atoms)) } else { atoms };
                quote!((#atoms / #div))
            }
        }
    }

    /// Whether a register is ever set again after its definition.
    fn is_set(&self, reg: Reg) -> bool {
        fn sets(stmts: &[MStmt], reg: Reg) -> bool {
            stmts.iter().any(|stmt| match stmt {
                MStmt::Set(target, _) => *target == reg,
                MStmt::Repeat { body, .. } | MStmt::Pass(body) => sets(body, reg),
                _ => false,
            })
        }
        sets(&self.kernel.machine.body, reg)
    }

    fn define(&self, reg: Reg, inst: &Inst, mutable: bool) -> TokenStream {
        let (reg, value) = (name(reg), self.call(inst));
        if mutable { quote!(let mut #reg = #value;) } else { quote!(let #reg = #value;) }
    }

    fn call(&self, inst: &Inst) -> TokenStream {
        let path = path(inst.intrinsic.name);
        let constant = inst.args.iter().find_map(|arg| match arg {
            Arg::Const(value) => {
                let value = Literal::i64_unsuffixed(*value);
                Some(quote!(::<#value>))
            }
            Arg::Ahead(_, ahead) => {
                let ahead = Literal::usize_unsuffixed(*ahead);
                Some(quote!(::<#ahead>))
            }
            _ => None,
        });
        let args = inst.args.iter().filter(|arg| !matches!(arg, Arg::Const(_))).map(|arg| self.argument(arg));
        quote!(#path #constant (#(#args),*))
    }

    fn argument(&self, arg: &Arg) -> TokenStream {
        let at = |pointer: TokenStream, offset: usize| match offset {
            0 => pointer,
            _ => {
                let offset = Literal::usize_unsuffixed(offset);
                quote!(#pointer.add(#offset))
            }
        };
        let acts = |token: usize, offset: usize| match self.interleaved() {
            // Whole quads, which is what a kernel is compiled for.
            Some(tokens) => at(quote!(a0), offset * tokens + 4 * token),
            None => {
                let a = format_ident!("a{token}");
                at(quote!(#a), offset)
            }
        };
        match *arg {
            Arg::Reg(reg) => {
                let reg = name(reg);
                quote!(#reg)
            }
            Arg::Imm(value) | Arg::Const(value) => {
                let value = Literal::i64_unsuffixed(value);
                quote!(#value)
            }
            Arg::Weights(stream, offset) => {
                let w = of_stream("w", stream);
                let pointer = at(quote!(#w), offset);
                quote!(#pointer.cast())
            }
            // How far ahead of it is the function's constant.
            Arg::Ahead(Cursor::Weights(stream), _) => {
                let w = of_stream("w", stream);
                quote!(#w)
            }
            Arg::Ahead(Cursor::Acts, _) => quote!(a0.cast()),
            Arg::Acts(token, offset) => acts(token, offset),
            Arg::ActsWord(token, offset) => {
                let pointer = acts(token, offset);
                quote!(abi::load_i32(#pointer))
            }
            Arg::ActSum(0) => quote!(*p.act_sums),
            Arg::ActSum(token) => {
                let token = Literal::usize_unsuffixed(token);
                quote!(*p.act_sums.add(#token))
            }
            Arg::Out(token, row) => {
                let pointer = match token {
                    0 => quote!(out),
                    1 => quote!(out.add(p.out_stride)),
                    _ => {
                        let token = Literal::usize_unsuffixed(token);
                        quote!(out.add(#token * p.out_stride))
                    }
                };
                // In the tile's last rows the address may lie past the results; nothing is then stored there.
                let pointer = match row {
                    0 => pointer,
                    _ => {
                        let row = Literal::usize_unsuffixed(row);
                        quote!(#pointer.wrapping_add(#row))
                    }
                };
                quote!(#pointer.cast())
            }
            Arg::RowsLeft(0) => quote!(rows),
            Arg::RowsLeft(first_row) => {
                let first_row = Literal::usize_unsuffixed(first_row);
                quote!(rows - #first_row)
            }
            Arg::RowMask | Arg::Scratch(_) | Arg::ScratchRows(_) | Arg::ActRows(..) => {
                unreachable!("regions alone have {arg:?}")
            }
        }
    }
}

fn name(reg: Reg) -> Ident {
    format_ident!("v{}", reg.0)
}

/// The name of something that there is one of for each stream.
fn of_stream(name: &str, stream: usize) -> Ident {
    match stream {
        0 => format_ident!("{name}"),
        _ => format_ident!("{name}_s{stream}"),
    }
}

/// A path as tokens.
pub fn path(path: &str) -> TokenStream {
    let segments = path.split("::").map(|s| format_ident!("{s}"));
    quote!(#(#segments)::*)
}

/// Tokens as a person would set them.
pub fn spaced(tokens: TokenStream) -> String {
    let mut out = String::new();
    write_spaced(tokens, &mut out);
    out
}

fn write_spaced(tokens: TokenStream, out: &mut String) {
    // Whether a space belongs before the next word, and whether an operator there would be a prefix.
    let (mut after_word, mut prefix) = (false, true);
    let mut operator = String::new();
    for token in tokens {
        match token {
            TokenTree::Punct(punct) => {
                operator.push(punct.as_char());
                if punct.spacing() == Spacing::Joint {
                    continue;
                }
                match operator.as_str() {
                    "," => out.push_str(", "),
                    // What is parsed joins `::` and `<`, what is quoted does not.
                    "::" | "::<" | "." | ".." | ";" | "<" | ">" | "#" => out.push_str(&operator),
                    ":" => out.push_str(": "),
                    "*" | "&" | "-" if prefix => {
                        if after_word {
                            out.push(' ');
                        }
                        out.push_str(&operator);
                    }
                    _ => {
                        out.push(' ');
                        out.push_str(&operator);
                        out.push(' ');
                    }
                }
                prefix = !matches!(operator.as_str(), ">" | "." | "::");
                after_word = false;
                operator.clear();
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                if after_word && out.ends_with(" in") {
                    out.push(' ');
                }
                out.push_str(open);
                write_spaced(group.stream(), out);
                out.push_str(close);
                (after_word, prefix) = (true, false);
            }
            word => {
                if after_word {
                    out.push(' ');
                }
                let _ = write!(out, "{word}");
                (after_word, prefix) = (true, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_spaced_like_rustfmt_would() {
        for text in [
            "let v3 = _mm512_srli_epi16::<4>(v1);",
            "let mut a2 = p.acts.add(2 * p.act_stride);",
            "let out = p.out.add((tile - p.first_tile) * 16);",
            "for tile in p.first_tile..p.end_tile",
            "v7 = _mm512_set1_epi32(*p.act_sums.add(1));",
            "x86_ops::prefetch::<4096>(w);",
            "pub unsafe extern \"C\" fn k(p: &abi::Operands)",
            "for _ in 0..((p.k_atoms % 16) / 4)",
            "let v0 = _mm256_set1_epi8(-64);",
            "#[target_feature(enable = \"avx2\")]",
        ] {
            let tokens: TokenStream = text.parse().unwrap();
            assert_eq!(spaced(tokens), text);
        }
    }
}
