//! A crate of somebody else generates eight tokens.

use downstream_runtime::continuation;

/// The beginning of the demo oracle's prompt; the continuation that it states begins like this.
const PROMPT: &str = "The Fox And The Horse\n\nA peasant had a faithful horse which had grown old and could do no more \
    work, so his master would no longer give him anything to eat and said, \"I can certainly make no more use";

#[test]
fn eight_tokens_continue_the_oracles_prompt() {
    let (tokens, text) = continuation(PROMPT, 8).expect("a continuation");
    assert_eq!(tokens.len(), 8);
    let oracle = "ful to go home again.\" The peasant was taken into the forest";
    assert!(oracle.starts_with(&text) && !text.is_empty(), "{text:?}");
}
