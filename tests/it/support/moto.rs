//! A second S3: moto's server, which has nothing in common with the emulator.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

/// A running server with nothing in it; it ends with the test, however that ends.
pub(crate) struct Moto {
    pub endpoint: String,
    /// Ends the server once its input is closed.
    guard: Child,
}

impl Moto {
    /// The server that `PROVISION_MOTO` names, such as `venv/bin/moto_server` after `venv/bin/pip install -r
    /// tests/it/support/moto.txt`.
    pub(crate) fn start() -> Self {
        let server = std::env::var("PROVISION_MOTO").expect("PROVISION_MOTO: the path of moto_server");
        let mut guard = Command::new("sh")
            .args([
                "-c",
                r#""$0" -H 127.0.0.1 -p 0 & server=$!; read -r end; kill "$server""#,
                &server,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(guard.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let endpoint = lines
            .find_map(|line| Some(line.split_once("Running on ")?.1.trim().to_owned()))
            .expect("it says where it is");
        // It tells every request, and would wait for a reader.
        thread::spawn(move || lines.for_each(drop));
        Self { endpoint, guard }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().unwrap();
    }
}
