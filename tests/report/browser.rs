//! A headless Chromium.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// What it is called.
pub const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Height of the window.
const HEIGHT: u32 = 900;
/// The narrowest window that Chromium makes.
const NARROWEST: u32 = 500;

/// A browser on PATH.
pub struct Browser {
    program: PathBuf,
}

/// A page as it was rendered.
#[derive(Debug, Deserialize)]
pub struct Rendered {
    pub window_width: f64,
    pub document_width: f64,
    /// The height of the smallest text, in plots too.
    pub least_text: f64,
    pub plots: Vec<RenderedPlot>,
    /// Errors and warnings of the page.
    #[serde(skip)]
    pub console: Vec<String>,
    #[serde(skip)]
    pub picture: Picture,
}

#[derive(Debug, Deserialize)]
pub struct RenderedPlot {
    pub title: String,
    /// Points that the page says it has.
    pub claimed: usize,
    /// Marks of some size within the plot, which is within the page.
    pub visible: usize,
}

/// What a screenshot shows.
#[derive(Debug, Default)]
pub struct Picture {
    pub width: u32,
    /// Of the compressed picture: how much there is to see.
    pub bytes_for_1000_pixels: u64,
}

/// Measures the page in the frame and leaves the result in the title of the document around it.
const MEASURE: &str = r#"
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentWindow, doc = page.document, root = doc.documentElement;
  const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const text = [...doc.querySelectorAll("svg text, p, td, th, li, h1, h2")].filter(e => e.textContent.trim());
  const scale = e => e.ownerSVGElement ? e.ownerSVGElement.getBoundingClientRect().width / e.ownerSVGElement.viewBox.baseVal.width : 1;
  const size = e => parseFloat(page.getComputedStyle(e).fontSize) * scale(e);
  const plots = [...doc.querySelectorAll("svg[data-points]")].map(svg => {
    const box = svg.getBoundingClientRect();
    const seen = mark => { const r = mark.getBoundingClientRect(); return r.width > 0 && r.height > 0 && inside(r, box); };
    const fits = box.left >= 0 && box.right <= page.innerWidth && box.height > 0;
    const visible = fits ? [...svg.querySelectorAll(".point")].filter(seen).length : 0;
    return { title: svg.getAttribute("aria-label"), claimed: Number(svg.dataset.points), visible };
  });
  document.title = JSON.stringify({ window_width: page.innerWidth, document_width: root.scrollWidth,
    least_text: Math.min(...text.map(size)), plots });
});
"#;

impl Browser {
    /// The first that is there.
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let programs = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        programs.into_iter().find(|program| program.is_file()).map(|program| Browser { program })
    }

    /// Renders a page in a frame of some width: the window itself may not be as narrow as a phone.
    pub fn render(&self, page: &str, width: u32) -> Result<Rendered, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let around = folder.path().join("around.html");
        let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
        let frame = format!(
            "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\"><script>{MEASURE}</script></head>\
             <body style=\"margin:0\"><iframe style=\"border:0;display:block;width:{width}px;height:{HEIGHT}px\" srcdoc=\"{quoted}\">\
             </iframe></body></html>"
        );
        std::fs::write(&around, frame).map_err(|error| error.to_string())?;
        let picture = folder.path().join("picture.png");
        let (dom, console) =
            self.run(folder.path(), &around, width.max(NARROWEST), &["--dump-dom".to_owned()])?;
        self.run(folder.path(), &around, width, &[format!("--screenshot={}", picture.display())])?;
        let measured = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        let measured = measured.ok_or_else(|| format!("nothing was measured: {dom:.400}"))?;
        let measured = measured.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let rendered: Rendered =
            serde_json::from_str(&measured).map_err(|error| format!("{error}: {measured}"))?;
        Ok(Rendered { console, picture: Picture::read(&picture)?, ..rendered })
    }

    /// What it prints, and what the page's console says.
    fn run(
        &self,
        folder: &Path,
        page: &Path,
        width: u32,
        what: &[String],
    ) -> Result<(String, Vec<String>), String> {
        let mut command = Command::new(&self.program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
        command.args(["--enable-logging=stderr", "--log-level=0", "--timeout=20000"]);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.arg(format!("--window-size={width},{HEIGHT}")).args(what);
        command.arg(format!("file://{}", page.display())).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("{} ended with {}: {log}", self.program.display(), output.status));
        }
        Ok((
            dom.into_owned(),
            log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect(),
        ))
    }
}

impl Picture {
    /// Reads the head of a PNG file.
    fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("no screenshot: {error}"))?;
        let number = |at: usize| {
            bytes.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        match (bytes.starts_with(b"\x89PNG"), number(16), number(20)) {
            (true, Some(width), Some(height)) if width > 0 && height > 0 => {
                let pixels = u64::from(width) * u64::from(height);
                let bytes_for_1000_pixels = bytes.len() as u64 * 1000 / pixels;
                Ok(Picture { width, bytes_for_1000_pixels })
            }
            _ => Err(format!("{} is no picture", path.display())),
        }
    }
}
