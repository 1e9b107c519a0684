//! What every JSON document about a stack begins with.
//!
//! Must not know what follows.

use serde::Serialize;

use crate::state::State;

/// The format of these documents.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a, T> {
    format: u32,
    stack: &'a str,
    account: &'a str,
    region: &'a str,
    #[serde(flatten)]
    content: &'a T,
}

/// The document of `content` about the stack of this state.
pub(super) fn document(state: &State, content: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Document {
        format: FORMAT,
        stack: &state.stack,
        account: &state.account,
        region: &state.region,
        content,
    })
}
