//! Growing pauses between attempts at something that is not ready yet.
//!
//! Must not decide whether there is another attempt.

use std::time::Duration;

/// The longest pause, in seconds.
const LONGEST: u64 = 5;

/// 1, 2, 3 … seconds, at most 5.
pub(crate) struct Pauses {
    /// In seconds.
    next: u64,
}

impl Pauses {
    /// The first is of one second.
    pub(crate) fn growing() -> Self {
        Self { next: 1 }
    }

    /// Waits for the next pause, but no longer than `left`.
    pub(crate) async fn wait(&mut self, left: Duration) {
        tokio::time::sleep(left.min(Duration::from_secs(self.next))).await;
        self.next = LONGEST.min(self.next + 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_five_seconds_and_end_with_the_time_that_is_left() {
        let mut pauses = Pauses::growing();
        for (left, seconds) in [(60, 1), (60, 2), (60, 3), (2, 2), (60, 5), (60, 5), (0, 0)] {
            let start = Instant::now();
            pauses.wait(Duration::from_secs(left)).await;
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
    }
}
