//! The token of the sandbox's folder, which only the folder's owner can read. It is the access key id that the emulator
//! accepts, and the emulator proves with it that it is the one on the port.
//!
//! Must not send the token anywhere.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::error::Failure;
use crate::files::Replacement;

/// 128 bits in hexadecimal. An access key id of 12 digits would choose an account.
const LENGTH: usize = 32;

/// The token of this folder; `None` before its first start.
pub(super) fn read(folder: &Path) -> Result<Option<SecretString>, Failure> {
    let path = folder.join("token");
    match fs_err::read_to_string(&path) {
        Ok(text) if text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(Some(text.into()))
        }
        Ok(_) => Err(
            Failure::from(anyhow!("{} is not a token of the sandbox", path.display()))
                .hinted("delete that file; the next start creates another"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A new token for this folder, in a file that only its owner can read.
pub(super) fn make(folder: &Path) -> Result<SecretString, Failure> {
    let token = random()?;
    let path = folder.join("token");
    Replacement::write(&path, token.as_bytes(), 0o600)?.persist(&path)?;
    Ok(token.into())
}

/// Whether the server on `port` knows the token. It does not get the token, because another user may have the port.
pub(super) async fn is_proved(port: u16, token: &SecretString) -> anyhow::Result<bool> {
    let http = reqwest::Client::builder()
        .no_proxy()
        // Needs none, and this machine may have none.
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(2))
        .build()?;
    let challenge = random()?;
    let answer = http
        .get(format!("http://127.0.0.1:{port}/_provision/proof"))
        .header("x-provision-challenge", &challenge)
        .send()
        .await;
    let Ok(answer) = answer else { return Ok(false) };
    // A header, because its length is limited.
    let proof = answer.headers().get("x-provision-proof");
    // With the port, so that the answer of another sandbox is not accepted.
    let mut expected = Hmac::<Sha256>::new_from_slice(token.expose_secret().as_bytes())?;
    expected.update(format!("127.0.0.1:{port} {challenge}").as_bytes());
    let expected = expected.finalize().into_bytes();
    let expected = hexadecimal(&expected);
    Ok(proof.is_some_and(|proof| proof.as_bytes() == expected.as_bytes()))
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; LENGTH / 2];
    getrandom::fill(&mut bytes)?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string accepts all text");
    }
    text
}
