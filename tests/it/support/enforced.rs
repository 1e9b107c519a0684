//! An emulator that checks signatures and rights, as AWS does, with the corrections of `iam.py`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Place;
use provision::aws::clients::SANDBOX_SECRET;

/// The administrator's access key id.
pub(crate) const KEY: &str = "test";
/// The administrator's secret access key.
pub(crate) const SECRET: &str = SANDBOX_SECRET;

/// A running emulator; it ends when this is dropped.
pub(crate) struct Enforced {
    pub endpoint: String,
    /// The Python that runs it.
    pub python: String,
    server: Child,
}

impl Drop for Enforced {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl Enforced {
    /// Keeps its content in a folder of this place.
    pub(crate) fn start(place: &Place) -> Self {
        let folder = place.path().join("iam");
        fs_err::create_dir_all(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        place.emulator();
        let python = place.python();
        place.run(&["sandbox", "stop"]).ok();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let server = Command::new(&python)
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
            .env(
                "SERVICES",
                "cognito-idp,apigateway,lambda,iam,logs,sts,dynamodb,ec2,ssm,secretsmanager,wafv2",
            )
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
            python,
            server,
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !emulator.is_reset().unwrap_or(false) {
            assert!(Instant::now() < deadline, "the emulator answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    /// Deletes all its content; whether it answers.
    pub(crate) fn is_reset(&self) -> std::io::Result<bool> {
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
