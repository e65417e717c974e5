//! Prints eight tokens of a tale.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let prompt = "Once upon a time";
    let (tokens, text) = downstream_runtime::continuation(prompt, 8)?;
    println!("{prompt}{text}");
    println!("{tokens:?}");
    Ok(())
}
