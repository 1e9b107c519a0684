//! Ctrl-C and SIGTERM.
//!
//! Must not decide what a command does when it is asked to stop.

use std::sync::{Mutex, PoisonError, mpsc};
use std::{io, process, thread};

use anyhow::Context;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Failure, Kind};
use crate::report::terminal;

/// Whether the user wants the command to stop; `None` while the system handles the signals.
static STOP: Mutex<Option<watch::Sender<bool>>> = Mutex::new(None);

/// Becomes true at the first Ctrl-C or SIGTERM; the second leaves at once, which is safe: intents are on disk.
pub(super) fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    let mut stop = STOP.lock().unwrap_or_else(PoisonError::into_inner);
    let stop = match &mut *stop {
        Some(stop) => stop,
        none => none.insert(listen().context("cannot listen for Ctrl-C")?),
    };
    Ok(stop.subscribe())
}

/// From now on also a command that has no [`stop_signal`] leaves the terminal clean: it still ends at the first Ctrl-C.
pub(super) fn clean_up() -> Result<(), Failure> {
    stop_signal().map(drop)
}

/// On a thread of its own, because a question waits for its answer on the main one.
fn listen() -> io::Result<watch::Sender<bool>> {
    let (stop, _) = watch::channel(false);
    let (ready, is_ready) = mpsc::channel();
    let told = stop.clone();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_io().build();
        match runtime {
            Ok(runtime) => runtime.block_on(handle(&told, &ready)),
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    let listens = is_ready
        .recv()
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    listens.map(|()| stop)
}

async fn handle(stop: &watch::Sender<bool>, ready: &mpsc::Sender<io::Result<()>>) {
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => return drop(ready.send(Err(error))),
    };
    drop(ready.send(Ok(())));
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let is_first = !*stop.borrow();
        if is_first && stop.receiver_count() > 0 {
            stop.send_replace(true);
            continue;
        }
        terminal::close();
        #[expect(
            clippy::exit,
            reason = "the user wants out now, and a kill at any instant is safe"
        )]
        process::exit(i32::from(Kind::Interrupted.exit_code()));
    }
}
