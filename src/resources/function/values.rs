//! What a function has that is not recorded: its code, and the values of its environment.
//!
//! Must not print or record any of it.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// The zip that `code_sha256` is the hash of; equal to any other, as the hash tells them apart.
#[derive(Clone, Default)]
pub struct Code(pub Rc<Vec<u8>>);

impl PartialEq for Code {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({} bytes)", self.0.len())
    }
}

/// The values that `environment` has the fingerprints of; equal to any other, as those tell them apart.
#[derive(Clone, Default)]
pub struct Variables(pub Rc<BTreeMap<String, SecretString>>);

impl PartialEq for Variables {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Stands for a variable's value wherever it is recorded or shown: a hash that differs between functions.
pub fn fingerprint(function: &str, variable: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    for part in [function, variable, value] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("sha256:{}", &URL_SAFE_NO_PAD.encode(hash.finalize())[..16])
}
