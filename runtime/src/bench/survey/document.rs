//! A document: what the Markdown and the HTML have in common.

use super::plot::Plot;

/// Sections under a title.
pub struct Document {
    pub title: String,
    pub subtitle: String,
    pub sections: Vec<Section>,
}

/// Blocks under a heading.
pub struct Section {
    pub heading: &'static str,
    pub blocks: Vec<Block>,
}

pub enum Block {
    /// A paragraph.
    Text(String),
    /// Points, one a line.
    List(Vec<String>),
    /// What is wrong, one a line.
    Warning(Vec<String>),
    /// A command.
    Command(String),
    Table(Table),
    /// Plots side by side where there is room.
    Plots(Vec<Plot>),
}

/// Cells under a head; the first column is text, the others are numbers.
pub struct Table {
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
}

pub struct Cell {
    pub text: String,
    /// What of a whole is to be shown as a bar behind the text.
    pub share: Option<f64>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell { text, share: None }
    }
}

/// A number with about three digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
