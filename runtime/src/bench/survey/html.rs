//! A document as one HTML page that needs nothing beside it.

use super::Survey;
use super::document::{Block, Cell, Document, Table};
use super::plot::{Kind, Plot};
use super::{sections, svg};

/// Warnings that stand open; more are folded away, for a disturbed machine gives one a kernel.
const OPEN: usize = 4;

const STYLE: &str = include_str!("style.css");

impl Survey {
    /// One page with plots, which needs no other file, no script and no network.
    pub fn html(&self) -> String {
        page(&sections::document(self))
    }
}

/// Text as it may stand between tags and in attributes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

fn page(document: &Document) -> String {
    let (title, subtitle) = (escaped(&document.title), escaped(&document.subtitle));
    let sections: String = document
        .sections
        .iter()
        .map(|section| {
            let blocks: String = section.blocks.iter().map(block).collect();
            format!("<section>\n<h2>{}</h2>\n{blocks}</section>\n", escaped(section.heading))
        })
        .collect();
    // An icon that is empty, so that no browser asks for one.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p class=\"subtitle\">{subtitle}</p>\n{sections}</main>\n</body>\n</html>\n"
    )
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", escaped(text)),
        Block::List(points) => list("", points),
        Block::Warning(points) if points.len() > OPEN => {
            let (count, first) = (points.len(), escaped(&points[0]));
            let summary = format!("<summary>{count} warnings, such as: {first}</summary>");
            format!("<details class=\"warning\">\n{summary}\n{}</details>\n", list("", points))
        }
        Block::Warning(points) => list(" class=\"warning\"", points),
        Block::Command(command) => format!("<pre>{}</pre>\n", escaped(command)),
        Block::Table(rows) => table(rows),
        Block::Plots(plots) => {
            let figures: String = plots.iter().map(figure).collect();
            format!("<div class=\"plots\">\n{figures}</div>\n")
        }
    }
}

fn list(class: &str, points: &[String]) -> String {
    let points: String = points.iter().map(|text| format!("<li>{}</li>\n", escaped(text))).collect();
    format!("<ul{class}>\n{points}</ul>\n")
}

fn figure(plot: &Plot) -> String {
    let (title, note) = (escaped(&plot.title), escaped(&plot.note));
    let legend = match &plot.kind {
        Kind::Points(chart) => {
            let entry = |style: usize, name: &str| {
                let mark = svg::mark(style, 7.0, 7.0);
                let mark =
                    format!("<svg viewBox=\"0 0 14 14\"><path class=\"s{style} point\" d=\"{mark}\"/></svg>");
                format!("<li>{mark}{}</li>\n", escaped(name))
            };
            let entries: String =
                chart.series.iter().map(|series| entry(series.style, &series.name)).collect();
            format!("<ul class=\"legend\">\n{entries}</ul>\n")
        }
        Kind::Bars(_) => String::new(),
    };
    let picture = svg::draw(plot);
    format!("<figure>\n<figcaption>{title}</figcaption>\n<p>{note}</p>\n{picture}{legend}</figure>\n")
}

fn table(table: &Table) -> String {
    let head: String =
        table.head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escaped(name))).collect();
    let rows: String = table
        .rows
        .iter()
        .map(|row| format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>()))
        .collect();
    // The box scrolls, and can be reached by keyboard.
    format!(
        "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">\n<table>\n<thead><tr>{head}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn cell(cell: &Cell) -> String {
    // Where the names of kernels may be broken.
    let text = escaped(&cell.text).replace('_', "_<wbr>");
    match cell.share {
        Some(share) => {
            let share = (share * 100.0).clamp(0.0, 100.0);
            format!("<td class=\"share\" style=\"--share:{share:.0}%\">{text}</td>")
        }
        None => format!("<td>{text}</td>"),
    }
}
