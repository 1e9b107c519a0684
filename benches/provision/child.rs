//! One run of the binary, and what it cost.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wait4::Wait4;

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time, as the kernel counts it.
    pub(crate) cpu: Duration,
    /// Peak resident memory in bytes.
    pub(crate) memory: u64,
    /// Bytes that it caused to be written to the disk, in whole pages.
    pub(crate) written: u64,
}

/// A run that ended, and what it printed.
pub(crate) struct Run {
    pub(crate) cost: Cost,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Fails the benchmark unless the binary ended with this code: a figure of something else would mean nothing.
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// Runs it to its end.
pub(crate) fn run(mut command: Command) -> Run {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let stderr = thread::spawn(move || text(&mut stderr));
    let stdout = text(&mut child.stdout.take().unwrap());
    let stderr = stderr.join().unwrap();
    // Both are closed, so it is ending; what it has written is there to read until it is waited for.
    let process = format!("/proc/{}", child.id());
    while !has_ended(&process) {
        thread::yield_now();
    }
    let wall = began.elapsed();
    let written = written(&process);
    let used = child.wait4().unwrap();
    Run {
        cost: Cost {
            wall,
            cpu: used.rusage.utime + used.rusage.stime,
            memory: used.rusage.maxrss,
            written,
        },
        code: used.status.code().unwrap_or(-1),
        stdout,
        stderr,
    }
}

fn text(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn has_ended(process: &str) -> bool {
    let stat = fs_err::read_to_string(format!("{process}/stat")).unwrap();
    // The state is behind the name, which is in brackets.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn written(process: &str) -> u64 {
    let io = fs_err::read_to_string(format!("{process}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}
