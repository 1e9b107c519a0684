//! Ctrl-C and SIGTERM.
//!
//! Must not stop anything itself but, the second time, the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Failure, Kind};

/// Becomes true at the first Ctrl-C or SIGTERM; the second leaves at once, which is safe: intents are on disk.
pub fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                // Nobody listens any more where nothing is left to stop.
                stop.send_replace(true);
            }
        }
        #[expect(
            clippy::exit,
            reason = "the user wants out now, and a kill at any instant is safe"
        )]
        std::process::exit(i32::from(Kind::Interrupted.exit_code()));
    });
    Ok(stopped)
}
