//! The host names under which AWS serves the API and the tokens of a stack.
//!
//! Must not be used for a local endpoint, which has paths of its own.

use reqwest::Url;

/// Whether the host names in this partition are known to this program.
///
/// Only the token hosts of AWS's own regions and of GovCloud ([`token_domain`]) are documented for sure; guessing
/// another one would send a client's secret to a host that someone else may own.
pub fn is_known_partition(partition: &str) -> bool {
    ["aws", "aws-us-gov"].contains(&partition)
}

/// Whether this region may be in such a partition: it is not in China, the EU sovereign cloud or an isolated partition.
pub fn is_known_region(region: &str) -> bool {
    let others = ["cn-", "eusc-", "us-iso", "eu-iso"];
    !others.iter().any(|prefix| region.starts_with(prefix))
}

/// The partition of a region that is known.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// Whether a request to this URL goes to a host below `domain`, encrypted.
pub fn is_below(url: &str, domain: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default();
        let label = host.strip_suffix(domain).and_then(|host| host.strip_suffix('.'));
        url.scheme() == "https"
            && url.authority() == host
            && label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
    })
}

/// Whether both URLs are of the same host and port.
pub fn is_same(url: &str, endpoint: &str) -> bool {
    let authority = |url: &str| {
        Url::parse(url)
            .ok()
            .map(|url| (url.scheme().to_owned(), url.authority().to_owned()))
    };
    authority(url).is_some_and(|url| Some(url) == authority(endpoint))
}

/// The invoke URL of a stage; the route `/user` is at this URL + `/user`.
pub fn api_url(api: &str, region: &str, stage: &str) -> String {
    format!("https://{api}.execute-api.{region}.amazonaws.com/{stage}")
}

/// The domain above all prefix domains of a region.
pub fn token_domain(region: &str) -> String {
    let auth = if region.starts_with("us-gov-") {
        "auth-fips"
    } else {
        "auth"
    };
    format!("{auth}.{region}.amazoncognito.com")
}

/// The token endpoint of a user pool's prefix domain.
pub fn token_url(domain_prefix: &str, region: &str) -> String {
    format!("https://{domain_prefix}.{}/oauth2/token", token_domain(region))
}

/// The `iss` of the pool's tokens with issuer type ORIGINAL.
pub fn issuer(pool: &str, region: &str) -> String {
    format!("https://cognito-idp.{region}.amazonaws.com/{pool}")
}

/// The public keys that an issuer's tokens are signed with.
pub fn jwks_url(issuer: &str) -> String {
    format!("{issuer}/.well-known/jwks.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_host_is_the_documented_one_of_its_partition_and_no_other_is_guessed() {
        for (region, url) in [
            (
                "eu-west-1",
                "https://p.auth.eu-west-1.amazoncognito.com/oauth2/token",
            ),
            (
                "us-gov-west-1",
                "https://p.auth-fips.us-gov-west-1.amazoncognito.com/oauth2/token",
            ),
            (
                "us-gov-east-1",
                "https://p.auth-fips.us-gov-east-1.amazoncognito.com/oauth2/token",
            ),
        ] {
            assert_eq!(token_url("p", region), url);
            assert!(is_below(url, &token_domain(region)) && is_known_region(region));
            let is_gov = region.starts_with("us-gov-");
            assert_eq!(partition(region), if is_gov { "aws-us-gov" } else { "aws" });
        }
        for region in [
            "cn-north-1",
            "cn-northwest-1",
            "eusc-de-east-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "eu-isoe-west-1",
        ] {
            assert!(!is_known_region(region), "{region}");
        }
        for (partition, is_known) in [
            ("aws", true),
            ("aws-us-gov", true),
            ("aws-cn", false),
            ("aws-eusc", false),
            ("aws-iso", false),
        ] {
            assert_eq!(is_known_partition(partition), is_known, "{partition}");
        }
    }

    #[test]
    fn a_url_is_below_its_domain_or_it_is_not_called() {
        let domain = "auth.eu-west-1.amazoncognito.com";
        assert!(is_below(&token_url("user-api-1a2b3c4d", "eu-west-1"), domain));
        for prefix in [
            "127.0.0.1:80/evil",
            "evil.example/a",
            "a.b",
            "",
            "u:p@a",
            "evil.example#",
            "evil.example?",
            "evil.example\\",
        ] {
            assert!(!is_below(&token_url(prefix, "eu-west-1"), domain), "{prefix}");
        }
        assert!(!is_below("http://a.auth.eu-west-1.amazoncognito.com/", domain));
        assert!(!is_below(
            "https://a.auth.eu-west-1.amazoncognito.com:444/",
            domain
        ));
        assert!(!is_below(
            "https://a.auth.eu-west-1.amazoncognito.com.evil.example/",
            domain
        ));
    }
}
