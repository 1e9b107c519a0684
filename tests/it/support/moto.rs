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

    /// A bucket with versioning. `state init` cannot make it: the SDK does not read this server's answer to GetBucketVersioning,
    /// whose root element is another than S3's.
    pub(crate) fn make_bucket(&self, name: &str) {
        const VERSIONED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for (query, body) in [("", ""), ("?versioning", VERSIONED)] {
            let put = http.put(format!("{}/{name}{query}", self.endpoint));
            let put = put.header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request",
            );
            let answer = runtime.block_on(put.body(body).send()).unwrap();
            assert_eq!(answer.status(), 200);
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().unwrap();
    }
}
