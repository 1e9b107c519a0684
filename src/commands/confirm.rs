//! The question before something that cannot be undone.
//!
//! Must not decide whether it is asked.

use super::ui::Ui;
use crate::error::Failure;

/// Goes on only if the user agrees; `nothing` says what was not done, and `otherwise` how to do it without a terminal.
///
/// # Errors
/// The user does not agree, or there is no terminal to ask on.
pub(super) fn confirm(ui: &Ui, question: &str, nothing: &str, otherwise: &str) -> Result<(), Failure> {
    match ui.confirm(question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::usage(format!("cancelled; {nothing}"))),
        None => Err(unasked(nothing, otherwise)),
    }
}

/// There is no terminal to ask on.
pub(super) fn unasked(nothing: &str, otherwise: &str) -> Failure {
    Failure::usage(format!("cannot ask without a terminal; {nothing}")).hinted(otherwise)
}
