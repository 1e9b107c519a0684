use std::sync::LazyLock;

use super::*;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};

const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc";

fn key() -> EncodingKey {
    let der: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
    // What signs wants the key alone, without the 26 bytes that say it is one of 2048-bit RSA.
    EncodingKey::from_rsa_der(&der.as_ref()[26..])
}

static OURS: LazyLock<EncodingKey> = LazyLock::new(key);
static FORGERS: LazyLock<EncodingKey> = LazyLock::new(key);
static ID_TOKENS: LazyLock<EncodingKey> = LazyLock::new(key);
/// One time for the whole test, as expected texts have it.
static NOW: LazyLock<u64> = LazyLock::new(get_current_timestamp);

/// The issuer's key set: another key first, then ours.
fn keys() -> JwkSet {
    let jwk = |key, kid: &str| {
        let mut jwk = Jwk::from_encoding_key(key, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        jwk
    };
    JwkSet {
        keys: vec![jwk(&ID_TOKENS, "id-tokens"), jwk(&OURS, "ours")],
    }
}

/// What Cognito puts into a token, with one claim set otherwise or, for null, left out.
fn claims(name: &str, value: Value) -> Value {
    let now = *NOW;
    let mut claims = json!({
        "sub": "c1", "iss": ISSUER, "token_use": "access", "client_id": "c1", "scope": "users/write users/read",
        "iat": now, "exp": now + 3600, "auth_time": now, "jti": "j", "version": 2,
    });
    match (claims.as_object_mut().unwrap(), value) {
        (claims, Value::Null) => drop(claims.remove(name)),
        (claims, value) => drop(claims.insert(name.to_owned(), value)),
    }
    claims
}

fn sign(claims: &Value, key: &EncodingKey, kid: Option<&str>, algorithm: Algorithm) -> SecretString {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, key).unwrap().into()
}

fn judged(token: &SecretString) -> Result<(), String> {
    let scopes = ["users/read", "users/write"].map(str::to_owned).into();
    let expected = Expected {
        issuer: ISSUER,
        client_id: "c1",
        scopes: &scopes,
        lifetime: 3600,
    };
    check(token, &keys(), &expected)
}

fn with(name: &str, value: Value) -> Result<(), String> {
    judged(&sign(&claims(name, value), &OURS, Some("ours"), Algorithm::RS256))
}

#[test]
fn what_cognito_gives_is_good() {
    assert_eq!(with("version", json!(2)), Ok(()));
    // A trigger of the pool's may add one.
    assert_eq!(with("aud", json!("https://api.example.com")), Ok(()));
}

#[test]
fn a_claim_that_is_wrong_is_named_with_what_it_should_be() {
    let now = *NOW;
    for (name, value, expected) in [
        (
            "iss",
            json!("https://evil.example"),
            format!("`iss`: expected {ISSUER}, got https://evil.example"),
        ),
        (
            "iss",
            json!([ISSUER]),
            format!("`iss`: expected {ISSUER}, got [\"{ISSUER}\"]"),
        ),
        (
            "token_use",
            json!("id"),
            "`token_use`: expected access, got id".to_owned(),
        ),
        (
            "token_use",
            Value::Null,
            "`token_use`: expected access, got nothing".to_owned(),
        ),
        (
            "client_id",
            json!("c2"),
            "`client_id`: expected c1, got c2".to_owned(),
        ),
        (
            "scope",
            json!("users/read"),
            "`scope`: expected users/read users/write, got users/read".to_owned(),
        ),
        (
            "scope",
            json!("users/read users/write users/admin"),
            "`scope`: expected users/read users/write, got users/read users/write users/admin".to_owned(),
        ),
        (
            "scope",
            Value::Null,
            "`scope`: expected users/read users/write, got nothing".to_owned(),
        ),
        (
            "exp",
            json!(now + 86_400),
            "it is valid for 86400 s, expected 3600 s".to_owned(),
        ),
        (
            "iat",
            json!(i64::MIN),
            format!(
                "it is valid for {} s, expected 3600 s",
                i128::from(now) + 3600 - i128::from(i64::MIN)
            ),
        ),
        ("iat", Value::Null, "it has no `iat` or no `exp`".to_owned()),
        ("exp", Value::Null, "it has no `exp`".to_owned()),
        (
            "exp",
            json!(now - 3600),
            "it has expired, by the clock of this machine".to_owned(),
        ),
        (
            "client_id",
            json!("\u{1b}[2J"),
            "`client_id`: expected c1, got \\u{1b}[2J".to_owned(),
        ),
    ] {
        assert_eq!(with(name, value), Err(expected), "{name}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut claims = claims("token_use", json!("id"));
    claims["client_id"] = json!("c2");
    let token = sign(&claims, &OURS, Some("ours"), Algorithm::RS256);
    assert_eq!(
        judged(&token).unwrap_err(),
        "`token_use`: expected access, got id; `client_id`: expected c1, got c2"
    );
}

#[test]
fn a_forged_signature_is_seen() {
    let good = claims("version", json!(2));
    for (key, kid, algorithm, expected) in [
        (
            &*FORGERS,
            Some("ours"),
            Algorithm::RS256,
            "its signature is not the issuer's",
        ),
        (
            &*OURS,
            Some("id-tokens"),
            Algorithm::RS256,
            "its signature is not the issuer's",
        ),
        (
            &*FORGERS,
            Some("theirs"),
            Algorithm::RS256,
            "the key that signed it is not one of the issuer's",
        ),
        (
            &*OURS,
            None,
            Algorithm::RS256,
            "the key that signed it is not one of the issuer's",
        ),
        (
            &*OURS,
            Some("ours"),
            Algorithm::RS512,
            "it is not signed with RS256",
        ),
    ] {
        assert_eq!(
            judged(&sign(&good, key, kid, algorithm)),
            Err(expected.to_owned())
        );
    }
    // The payload of one token under the signature of another.
    let signed = sign(&good, &OURS, Some("ours"), Algorithm::RS256);
    let other = claims("client_id", json!("c2")).to_string();
    let parts: Vec<&str> = signed.expose_secret().split('.').collect();
    let swapped = [parts[0], &BASE64_URL_SAFE_NO_PAD.encode(other), parts[2]].join(".");
    assert_eq!(
        judged(&swapped.into()),
        Err("its signature is not the issuer's".to_owned())
    );
}

#[test]
fn what_is_made_up_says_what_the_issuer_would_and_is_not_signed_by_it() {
    let scopes = ["users/read", "users/write"].map(str::to_owned).into();
    let token = made_up(ISSUER, &scopes);
    assert_eq!(
        judged(&token).unwrap_err(),
        "the key that signed it is not one of the issuer's"
    );
    let payload = token.expose_secret().split('.').nth(1).unwrap();
    let claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let expected = Expected {
        issuer: ISSUER,
        client_id: "provision-verify",
        scopes: &scopes,
        lifetime: 8_999_999_999,
    };
    assert_eq!(wrong_claims(&claims, &expected), [""; 0]);
}

#[test]
fn a_token_without_a_signature_is_none() {
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims("version", json!(2)).to_string());
    let unsigned = "it is not a JWT that is signed with RS256".to_owned();
    for algorithm in ["none", "None", "NONE", ""] {
        let header = json!({"alg": algorithm, "kid": "ours", "typ": "JWT"}).to_string();
        let header = BASE64_URL_SAFE_NO_PAD.encode(header);
        for token in [format!("{header}.{payload}."), format!("{header}.{payload}")] {
            assert_eq!(judged(&token.into()), Err(unsigned.clone()), "{algorithm}");
        }
    }
    assert_eq!(judged(&"no token at all".to_owned().into()), Err(unsigned));
}

#[test]
fn the_public_key_is_no_password() {
    // RS256's old trap: a forger signs with HS256 and takes the public key for the secret.
    let public = serde_json::to_value(&keys().keys[1]).unwrap();
    let forged = EncodingKey::from_secret(public["n"].as_str().unwrap().as_bytes());
    let token = sign(
        &claims("version", json!(2)),
        &forged,
        Some("ours"),
        Algorithm::HS256,
    );
    assert_eq!(judged(&token), Err("it is not signed with RS256".to_owned()));
}
