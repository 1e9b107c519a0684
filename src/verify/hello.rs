//! Whether a server takes an old version of TLS, which this program's own TLS cannot speak.
//!
//! Must not go on with the handshake: the first answer of the server says it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long to connect, and how long to wait for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// From the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// Those that a ClientHello of this module can offer.
pub const OFFERED: [Version; 3] = [Version::Tls10, Version::Tls11, Version::Tls12];

impl Version {
    /// The second byte of the version on the wire; the first is 3.
    fn minor(self) -> u8 {
        match self {
            Self::Tls10 => 1,
            Self::Tls11 => 2,
            Self::Tls12 => 3,
            Self::Tls13 => 4,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

/// What the server did with the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It goes on with the handshake.
    Takes,
    /// It sent an alert, or ended the connection.
    Refuses,
}

/// Offers this version at most, for the host `name`.
///
/// # Errors
/// The server cannot be reached, or answered nothing or something that is not TLS.
pub async fn offer(address: SocketAddr, name: &str, version: Version) -> Result<Said, String> {
    let connect = timeout(PATIENCE, TcpStream::connect(address)).await;
    let mut stream = connect
        .map_err(|_| format!("no connection to {address} in {} seconds", PATIENCE.as_secs()))?
        .map_err(|error| format!("no connection to {address}: {error}"))?;
    let answer = timeout(PATIENCE, async {
        // A server may end the connection at once.
        if stream.write_all(&client_hello(name, version)).await.is_err() {
            return Vec::new();
        }
        let mut answer = Vec::new();
        // A record has 5 bytes before it; then come the type, the length and the version of a ServerHello.
        while answer.len() < 11 {
            match stream.read_buf(&mut answer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        answer
    });
    let answer = answer
        .await
        .map_err(|_| format!("no answer from {address} in {} seconds", PATIENCE.as_secs()))?;
    judge(&answer, version)
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

fn judge(answer: &[u8], version: Version) -> Result<Said, String> {
    match *answer {
        [HANDSHAKE, 3, _, _, _, SERVER_HELLO, _, _, _, 3, minor, ..] if minor <= version.minor() => {
            Ok(Said::Takes)
        }
        // The last is a server that answers with a version that was not offered.
        [] | [ALERT, ..] | [HANDSHAKE, 3, _, _, _, SERVER_HELLO, _, _, _, 3, ..] => Ok(Said::Refuses),
        _ => Err("an answer that is not TLS".to_owned()),
    }
}

/// The ciphers of TLS 1.0 to 1.2 that servers of the last 15 years know: those with ECDHE, then those with RSA alone.
const CIPHERS: [u16; 12] = [
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc009, 0xc013, 0xc00a, 0xc014, 0x002f, 0x0035, 0x009c, 0x000a,
];

/// A record with a ClientHello (RFC 2246, 4346 and 5246; the extensions of RFC 6066 and 8422).
fn client_hello(name: &str, version: Version) -> Vec<u8> {
    let server_name = [&[0][..], &counted2(name.as_bytes())].concat();
    let mut extensions = extension(0, &counted2(&server_name));
    // secp256r1, secp384r1 and x25519; points are not compressed.
    extensions.extend(extension(10, &counted2(&[0, 23, 0, 24, 0, 29])));
    extensions.extend(extension(11, &[1, 0]));
    if version == Version::Tls12 {
        // SHA-256 and SHA-1 with RSA and ECDSA.
        extensions.extend(extension(13, &counted2(&[4, 1, 4, 3, 8, 4, 2, 1, 2, 3])));
    }
    // It does not have to be secret: nothing follows.
    let random = [0x5a; 32];
    let ciphers: Vec<u8> = CIPHERS.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
    let body = [
        &[3, version.minor()][..],
        &random,
        // No session to resume.
        &[0],
        &counted2(&ciphers),
        // No compression.
        &[1, 0],
        &counted2(&extensions),
    ]
    .concat();
    let handshake = [&[1, 0][..], &counted2(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &counted2(&handshake)].concat()
}

fn extension(number: u8, content: &[u8]) -> Vec<u8> {
    [&[0, number][..], &counted2(content)].concat()
}

/// The content after its length in two bytes.
fn counted2(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a ClientHello is short");
    [&length.to_be_bytes()[..], content].concat()
}
