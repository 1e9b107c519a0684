//! What a run is asked for beyond what is declared.
//!
//! Must not know how it was asked for.

use std::collections::{BTreeMap, BTreeSet};

/// What the user asked for, and what was found that limits it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The steps to replace, whatever is lost.
    pub replace: BTreeSet<String>,
    /// Whether what others changed is changed back.
    pub repair: bool,
    /// Whether resources with deletion protection are deleted as well.
    pub unprotect: bool,
    /// The steps whose deletion would delete what others have put there, and what that is.
    pub occupied: BTreeMap<String, String>,
}
