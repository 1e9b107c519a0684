//! An emulator that checks signatures and rights, as AWS does, after what `iam.py` mends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use provision::aws::clients::SANDBOX_SECRET;
use serde_json::Value;

use super::Place;

/// The administrator's access key id.
pub const KEY: &str = "test";
/// The administrator's secret access key.
pub const SECRET: &str = SANDBOX_SECRET;

/// A running one; it ends with this.
pub struct Enforced {
    pub endpoint: String,
    server: Child,
}

impl Drop for Enforced {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// The emulator's own Python.
fn python(place: &Place) -> PathBuf {
    place.emulator();
    let record = fs_err::read_to_string(place.path().join("state/sandbox/server.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let output = Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &record["process"].to_string()])
        .output()
        .unwrap();
    place.run(&["sandbox", "stop"]).ok();
    let command = String::from_utf8(output.stdout).unwrap();
    command.split(' ').next().unwrap().into()
}

impl Enforced {
    /// Keeps what it has in a folder of this place.
    pub fn start(place: &Place) -> Self {
        let folder = place.path().join("iam");
        fs_err::create_dir_all(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let server = Command::new(python(place))
            .arg(root.join("tests/it/support/iam.py"))
            .arg(root.join("src/sandbox/main.py"))
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("SERVICES", "cognito-idp,apigateway,lambda,iam,logs,sts")
            .env("LAMBDA_EXECUTOR", "local")
            .env("TMPDIR", &folder)
            .env("HOME", &folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            server,
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !emulator.is_reset().unwrap_or(false) {
            assert!(Instant::now() < deadline, "the emulator answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    /// Forgets everything; whether it answers.
    pub fn is_reset(&self) -> std::io::Result<bool> {
        let host = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        write!(
            stream,
            "POST /_ministack/reset HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 2"))
    }
}
