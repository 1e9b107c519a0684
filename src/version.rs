//! Which provision this is.
//!
//! Must not ask anything at run time: what a report of a defect quotes is in the binary.

use std::env::consts::{ARCH, OS};
use std::sync::LazyLock;

use crate::state::FORMAT;

/// What `--version` prints after the name; `-V` prints the first line of it.
pub(crate) static LONG: LazyLock<String> = LazyLock::new(|| {
    let libc = match () {
        () if cfg!(target_env = "musl") => " musl",
        () if cfg!(target_env = "gnu") => " gnu",
        () => "",
    };
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!(
        "{}\ncommit: {}\nbuild: {profile}, {ARCH} {OS}{libc}\nstate format: {FORMAT}",
        env!("CARGO_PKG_VERSION"),
        // packaging/archive sets it. `cargo install` does not know it.
        option_env!("PROVISION_COMMIT").unwrap_or("unknown"),
    )
});
