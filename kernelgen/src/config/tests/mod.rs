mod bundled;
mod files;
mod parse;
