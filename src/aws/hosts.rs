//! The host names under which AWS serves what a stack makes.
//!
//! Must not be asked for a local endpoint: those have paths of their own.

/// Whether the host names in this partition are known to this program.
///
/// Only the `aws` partition's token host, `<prefix>.auth.<region>.amazoncognito.com`, is documented for sure; guessing
/// another would send a client's secret to a host that somebody else may own.
pub fn is_known_partition(partition: &str) -> bool {
    partition == "aws"
}

/// The invoke URL of a stage; the route `/user` is at this URL + `/user`.
pub fn api_url(api: &str, region: &str, stage: &str) -> String {
    format!("https://{api}.execute-api.{region}.amazonaws.com/{stage}")
}

/// The token endpoint of a user pool's prefix domain.
pub fn token_url(domain_prefix: &str, region: &str) -> String {
    format!("https://{domain_prefix}.auth.{region}.amazoncognito.com/oauth2/token")
}

/// The `iss` of the pool's tokens with issuer type ORIGINAL.
pub fn issuer(pool: &str, region: &str) -> String {
    format!("https://cognito-idp.{region}.amazonaws.com/{pool}")
}

/// The public keys that an issuer's tokens are signed with.
pub fn jwks_url(issuer: &str) -> String {
    format!("{issuer}/.well-known/jwks.json")
}
