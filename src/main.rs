//! Parses, runs, prints one error, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One thread is enough: every wait is for AWS.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system lets a process have a timer and sockets");
    ExitCode::from(runtime.block_on(provision::commands::main()))
}
