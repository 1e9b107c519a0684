//! What is typed while other things happen.
//!
//! Must not know what was asked.

use std::{io, thread};

use tokio::sync::mpsc;

/// The lines of stdin, read on a thread of its own, which ends with the process.
pub(super) struct Answers(mpsc::UnboundedReceiver<String>);

impl Answers {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in io::stdin().lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Drops what was typed before there was a question.
    pub(super) fn forget(&mut self) {
        while self.0.try_recv().is_ok() {}
    }

    /// The next line; `None` once there are no more.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}
