//! Checks that an access token is the one that its issuer should give the client.
//!
//! Must not fetch anything, and must not quote a token, or a part of a token that is not a claim.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::untrusted::excerpt;

/// The claims that a token must have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// The claim `iss`.
    pub issuer: &'a str,
    /// The claim `client_id`.
    pub client_id: &'a str,
    /// Exactly these full scopes.
    pub scopes: &'a BTreeSet<String>,
    /// `exp` − `iat`, in seconds.
    pub lifetime: i64,
}

/// A token with the claims that the issuer would give a client with these scopes, and a signature that is not the issuer's.
pub(super) fn made_up(issuer: &str, scopes: &BTreeSet<String>) -> SecretString {
    let part = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = json!({"alg": "RS256", "kid": "provision-verify"});
    let scope = scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let claims = json!({
        "iss": issuer, "token_use": "access", "client_id": "provision-verify", "scope": scope,
        // In 2001 and in 2286: valid now, by every clock.
        "iat": 1_000_000_000, "exp": 9_999_999_999_u64,
    });
    let parts = [header, claims].map(|part_of| part(part_of.to_string().as_bytes()));
    // As long as a signature with a key of 2048 bits.
    let signature = part(&[0; 256]);
    format!("{}.{}.{signature}", parts[0], parts[1]).into()
}

/// Checks signature, expiry and claims. `keys` is the issuer's key set (JWKS).
///
/// # Errors
/// All that is wrong with the claims, safe to print. If the signature is wrong, the claims are not checked.
pub(super) fn check(token: &SecretString, keys: &JwkSet, expected: &Expected<'_>) -> Result<(), String> {
    let claims = signed(token, keys)?;
    let wrong = wrong_claims(&claims, expected);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

/// The claims of a token that the issuer signed and that has not expired.
fn signed(token: &SecretString, keys: &JwkSet) -> Result<Map<String, Value>, String> {
    let token = token.expose_secret();
    let header = decode_header(token).map_err(|error| refused(&error).to_owned())?;
    let key = header
        .kid
        .as_deref()
        .and_then(|kid| keys.find(kid))
        .and_then(|key| DecodingKey::from_jwk(key).ok())
        .ok_or("the key that signed it is not one of the issuer's")?;
    // Whatever the header says: Cognito signs with RS256 only.
    let mut validation = Validation::new(Algorithm::RS256);
    // An access token of the client-credentials grant names its client in `client_id` and has no `aud`, because Cognito does
    // not bind such a token to a resource (RFC 8707). A pre-token trigger may add one, which is not checked here.
    validation.validate_aud = false;
    let decoded = decode(token, &key, &validation).map_err(|error| refused(&error).to_owned())?;
    Ok(decoded.claims)
}

/// The library's own message may quote a part of the token.
fn refused(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is not the issuer's",
        ErrorKind::ExpiredSignature => "it has expired, by the clock of this machine",
        ErrorKind::InvalidAlgorithm => "it is not signed with RS256",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => "it has no `exp`",
        _ => "it is not a JWT that is signed with RS256",
    }
}

fn wrong_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Vec<String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let mut wrong = Vec::new();
    for (name, wanted) in [
        ("iss", expected.issuer),
        ("token_use", "access"),
        ("client_id", expected.client_id),
    ] {
        if text(name) != Some(wanted) {
            wrong.push(format!(
                "`{name}`: expected {wanted}, got {}",
                shown(claims.get(name))
            ));
        }
    }
    let scopes: BTreeSet<&str> = text("scope").unwrap_or_default().split(' ').collect();
    let wanted: BTreeSet<&str> = expected.scopes.iter().map(String::as_str).collect();
    if scopes != wanted {
        let wanted: Vec<&str> = wanted.into_iter().collect();
        wrong.push(format!(
            "`scope`: expected {}, got {}",
            wanted.join(" "),
            shown(claims.get("scope"))
        ));
    }
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    match (time("iat"), time("exp")) {
        (Some(from), Some(to)) if to.checked_sub(from) == Some(expected.lifetime) => {}
        (Some(from), Some(to)) => wrong.push(format!(
            "it is valid for {} s, expected {} s",
            i128::from(to) - i128::from(from),
            expected.lifetime
        )),
        _ => wrong.push("it has no `iat` or no `exp`".to_owned()),
    }
    wrong
}

fn shown(claim: Option<&Value>) -> String {
    match claim {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => excerpt(text.as_bytes()),
        Some(other) => excerpt(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests;
