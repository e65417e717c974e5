//! The model of the tile registers: their configuration and what each instruction on them does and refuses (Intel 64 and
//! IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and the instructions' pages in volume 2).

use super::Fault;
use crate::machine::TileShape;
use crate::region::TILES;

/// Rows of a tile register at most.
const ROWS: usize = 16;
/// Bytes of a row at most.
const ROW_BYTES: usize = 64;

/// The tile state of a thread.
#[derive(Debug, Clone)]
pub struct Tiles {
    /// `None` where there is no configuration; a register that is not used has no rows.
    shapes: Option<[TileShape; TILES]>,
    data: [[[u8; ROW_BYTES]; ROWS]; TILES],
}

impl Default for Tiles {
    fn default() -> Self {
        Self::new()
    }
}

impl Tiles {
    /// The state before any configuration, and after a release.
    pub const fn new() -> Self {
        Tiles { shapes: None, data: [[[0; ROW_BYTES]; ROWS]; TILES] }
    }

    /// `ldtilecfg`, with the shapes of the first registers; the others are not used. Clears all registers.
    ///
    /// # Errors
    /// A shape that no register has.
    pub fn configure(&mut self, shapes: &[TileShape]) -> Result<(), Fault> {
        let mut all = [TileShape { rows: 0, row_bytes: 0 }; TILES];
        if shapes.len() > TILES {
            return Err(Fault::Tile(format!("{} tile registers are configured", shapes.len())));
        }
        for (i, &TileShape { rows, row_bytes }) in shapes.iter().enumerate() {
            if rows > ROWS || row_bytes > ROW_BYTES || (rows == 0) != (row_bytes == 0) {
                return Err(Fault::Tile(format!("tmm{i} is configured as {rows} rows of {row_bytes} bytes")));
            }
            all[i] = shapes[i];
        }
        *self = Tiles { shapes: Some(all), ..Self::new() };
        Ok(())
    }

    /// `ldtilecfg` of the 64 bytes in memory.
    ///
    /// # Errors
    /// Another palette than 1, a register that palette lacks, or a shape that no register has.
    pub fn load_config(&mut self, bytes: &[u8; 64]) -> Result<(), Fault> {
        let wide = |i: usize| usize::from(u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]]));
        // What follows the palette is the row to start at, 0, then what is reserved; so are the registers from 8 on.
        let reserved = bytes[1..16].iter().chain(&bytes[32..48]).chain(&bytes[56..]);
        if bytes[0] != 1 || reserved.into_iter().any(|byte| *byte != 0) {
            return Err(Fault::Tile("the configuration is none of palette 1".to_owned()));
        }
        let shapes: [TileShape; TILES] =
            std::array::from_fn(|i| TileShape { rows: bytes[48 + i].into(), row_bytes: wide(i) });
        self.configure(&shapes)
    }

    /// `tilerelease`.
    pub fn release(&mut self) {
        *self = Self::new();
    }

    /// The shape of a register that is used.
    ///
    /// # Errors
    /// There is no configuration, or it leaves the register out.
    pub fn shape(&self, tile: usize) -> Result<TileShape, Fault> {
        match self.shapes.and_then(|shapes| shapes.get(tile).copied()) {
            Some(shape) if shape.rows > 0 => Ok(shape),
            _ => Err(Fault::Tile(format!("tmm{tile} is not configured"))),
        }
    }

    /// `tilezero`.
    ///
    /// # Errors
    /// As of [`Tiles::shape`].
    pub fn zero(&mut self, tile: usize) -> Result<(), Fault> {
        self.shape(tile)?;
        self.data[tile] = [[0; ROW_BYTES]; ROWS];
        Ok(())
    }

    /// `tileloadd`: `read(row, len)` gives the first `len` bytes of a row in memory.
    ///
    /// # Errors
    /// As of [`Tiles::shape`] and of `read`.
    pub fn load(
        &mut self,
        tile: usize,
        read: impl Fn(usize, usize) -> Result<Vec<u8>, Fault>,
    ) -> Result<(), Fault> {
        let TileShape { rows, row_bytes } = self.shape(tile)?;
        // What the shape leaves out becomes zero.
        let mut data = [[0; ROW_BYTES]; ROWS];
        for (row, line) in data.iter_mut().enumerate().take(rows) {
            line[..row_bytes].copy_from_slice(&read(row, row_bytes)?);
        }
        self.data[tile] = data;
        Ok(())
    }

    /// `tilestored`: the rows of a register.
    ///
    /// # Errors
    /// As of [`Tiles::shape`].
    pub fn rows(&self, tile: usize) -> Result<Vec<&[u8]>, Fault> {
        let TileShape { rows, row_bytes } = self.shape(tile)?;
        Ok(self.data[tile][..rows].iter().map(|line| &line[..row_bytes]).collect())
    }

    /// `tdpbsud acc, a, b`: to each i32 of `acc`, row m and column n, are added the products of the signed bytes of row m
    /// of `a` with the unsigned bytes that stand, four by four, in column n of `b`.
    ///
    /// # Errors
    /// Shapes that do not fit each other, one register for two operands, and as of [`Tiles::shape`].
    pub fn dot_signed_unsigned(&mut self, acc: usize, a: usize, b: usize) -> Result<(), Fault> {
        let shapes = [self.shape(acc)?, self.shape(a)?, self.shape(b)?];
        let [to, left, right] = shapes;
        let fits = to.rows == left.rows
            && left.row_bytes == 4 * right.rows
            && to.row_bytes == right.row_bytes
            && shapes.iter().all(|shape| shape.row_bytes % 4 == 0);
        if !fits || acc == a || acc == b || a == b {
            let operands = [(acc, to), (a, left), (b, right)]
                .map(|(tile, shape)| format!("tmm{tile} of {}x{}", shape.rows, shape.row_bytes));
            return Err(Fault::Tile(format!("tdpbsud cannot take {}", operands.join(", "))));
        }
        for m in 0..to.rows {
            for n in (0..to.row_bytes).step_by(4) {
                let sum = &self.data[acc][m][n..n + 4];
                let mut total = i32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
                for k in 0..right.rows {
                    let (signed, unsigned) = (&self.data[a][m][4 * k..][..4], &self.data[b][k][n..n + 4]);
                    for (x, y) in signed.iter().zip(unsigned) {
                        total = total.wrapping_add(i32::from(*x as i8) * i32::from(*y));
                    }
                }
                self.data[acc][m][n..n + 4].copy_from_slice(&total.to_le_bytes());
            }
        }
        Ok(())
    }
}
