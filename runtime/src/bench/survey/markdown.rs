//! A document as Markdown. Plots stand on the HTML page alone; their numbers are in the tables.

use super::Survey;
use super::document::{Block, Document, Table};
use super::sections;

impl Survey {
    /// The same as the HTML page, with tables in place of plots.
    pub fn markdown(&self) -> String {
        text(&sections::document(self))
    }
}

fn text(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}\n", escaped(&document.title), escaped(&document.subtitle));
    for section in &document.sections {
        out += &format!("\n## {}\n", section.heading);
        for block in &section.blocks {
            out += &match block {
                Block::Text(text) => format!("\n{}\n", escaped(text)),
                Block::List(points) => list(points, ""),
                Block::Warning(points) => list(points, "**"),
                Block::Command(command) => format!("\n```sh\n{command}\n```\n"),
                Block::Table(rows) => table(rows),
                Block::Plots(_) => String::new(),
            };
        }
    }
    out
}

/// Points between marks.
fn list(points: &[String], mark: &str) -> String {
    let points: String = points.iter().map(|text| format!("- {mark}{}{mark}\n", escaped(text))).collect();
    format!("\n{points}")
}

/// Text in which nothing is taken for a mark: names come from files.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn table(table: &Table) -> String {
    let marks = table.head.iter().enumerate().map(|(index, _)| if index == 0 { "---" } else { "---:" });
    let marks: Vec<&str> = marks.collect();
    let mut out = format!("\n| {} |\n| {} |\n", table.head.join(" | "), marks.join(" | "));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| escaped(&cell.text)).collect();
        out += &format!("| {} |\n", cells.join(" | "));
    }
    out
}
