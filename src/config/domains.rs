//! Reads the domain names of the user's own: `[api.domain]` and `[user_pool.domain]`.
//!
//! Must not know whose a domain is: AWS answers that.

use super::keys;
use super::problems::{Problems, quoted};
use super::rules::{REGION, Rule, every, is_in_aws};
use super::settings::regional;
use super::tree::Table;
use super::{ApiDomain, DomainSettings, PoolDomain, Regional};

/// A name in DNS with at least two labels. API Gateway refuses capital letters.
pub(super) const DOMAIN: Rule = Rule {
    allowed: "a domain name in lower case such as \"api.example.com\"",
    holds: |text| {
        let is_label = |label: &str| {
            label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && every(label, |c| {
                    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
                })
        };
        text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
    },
};

/// Of AWS Certificate Manager.
pub(super) const CERTIFICATE: Rule = Rule {
    allowed: "the ARN of a certificate of ACM such as \
              \"arn:aws:acm:eu-west-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab\"",
    holds: |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, certificate] = parts[..] else {
            return false;
        };
        let id = certificate.strip_prefix("certificate/").unwrap_or_default();
        (arn, service) == ("arn", "acm")
            && is_in_aws(partition, region, account)
            && (REGION.holds)(region)
            && every(id, |c| c.is_ascii_alphanumeric() || c == '-')
    },
};

/// Cognito takes a name only if the one above it has a record, which a name of two labels cannot have.
pub(super) const POOL_DOMAIN: Rule = Rule {
    allowed: "a domain name of at least three labels in lower case such as \"auth.example.com\"",
    holds: |text| (DOMAIN.holds)(text) && text.split('.').count() > 2,
};

/// CloudFront serves the domain of a pool, and takes certificates from one region; GovCloud has others.
pub(super) const CLOUDFRONT_CERTIFICATE: Rule = Rule {
    allowed: "the ARN of a certificate of ACM in us-east-1, where CloudFront takes it from, such as \
              \"arn:aws:acm:us-east-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab\"",
    holds: |text| {
        (CERTIFICATE.holds)(text)
            && (!text.starts_with("arn:aws:") || text.starts_with("arn:aws:acm:us-east-1:"))
    },
};

/// One part of a path, as API Gateway's first version of mappings takes it.
pub(super) const BASE_PATH: Rule = Rule {
    allowed: "one part of a path: 1 to 128 letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
    holds: |text| {
        text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && every(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    },
};

/// A version of TLS, or the name of a policy of API Gateway for Regional domains.
pub(super) const MINIMUM_TLS: Rule = Rule {
    allowed: "\"1.0\", \"1.2\", \"1.3\" or a security policy of API Gateway such as \"SecurityPolicy_TLS13_1_2_2021_06\"",
    holds: |text| {
        ["1.0", "1.2", "1.3"].contains(&text)
            || text.strip_prefix(ENHANCED).is_some_and(|name| {
                !name.ends_with("_EDGE") && every(name, |c| c.is_ascii_alphanumeric() || c == '_')
            })
    },
};

/// What the newer security policies of API Gateway begin with. They exclude mutual TLS.
const ENHANCED: &str = "SecurityPolicy_";

/// A file of certificates in S3.
pub(super) const TRUSTSTORE: Rule = Rule {
    allowed: "an object in S3 such as \"s3://my-bucket/clients.pem\"",
    holds: |text| {
        let path = text.strip_prefix("s3://").and_then(|path| path.split_once('/'));
        path.is_some_and(|(bucket, key)| {
            (3..=63).contains(&bucket.len())
                && every(bucket, |c| {
                    c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)
                })
                && key.len() <= 1024
                && every(key, |c| c.is_ascii_graphic() && !"*?\"\\".contains(c))
        })
    },
};

/// Of an object in S3.
pub(super) const VERSION: Rule = Rule {
    allowed: "the version of an object in S3: at most 1024 letters, digits, `-`, `_` and `.`",
    holds: |text| text.len() <= 1024 && every(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
};

/// The keys that say how the stack makes the domain.
const MADE: [&str; 4] = [
    "minimum_tls",
    "truststore",
    "truststore_version",
    "ownership_certificate",
];

/// Reads `[api.domain]`. What must be in the region of the stack goes to `places`.
pub(super) fn api_domain(
    table: &Table<'_>,
    places: &mut Vec<Regional>,
    p: &mut Problems,
) -> Option<ApiDomain> {
    table.only(&keys::API_DOMAIN.names(), p);
    table.require("name", "the domain name, such as \"api.example.com\"", p);
    let name = table.ruled("name", keys::API_DOMAIN.rule("name"), p);
    let base_path = table.ruled("base_path", keys::API_DOMAIN.rule("base_path"), p);
    let close_default_endpoint = table.flag("close_default_endpoint", p).unwrap_or_default();
    let made = made(table, places, p);
    Some(ApiDomain {
        name: name?.value.to_owned(),
        base_path: base_path.map_or_else(String::new, |path| path.value.to_owned()),
        close_default_endpoint,
        made,
    })
}

/// Reads `[user_pool.domain]`.
pub(super) fn pool_domain(table: &Table<'_>, p: &mut Problems) -> Option<PoolDomain> {
    table.only(&keys::POOL_DOMAIN.names(), p);
    table.require("name", "the domain name, such as \"auth.example.com\"", p);
    table.require("certificate", "the ARN of a certificate of ACM in us-east-1", p);
    let name = table.ruled("name", keys::POOL_DOMAIN.rule("name"), p);
    let certificate = table.ruled("certificate", keys::POOL_DOMAIN.rule("certificate"), p);
    Some(PoolDomain {
        name: name?.value.to_owned(),
        certificate: certificate?.value.to_owned(),
    })
}

fn made(table: &Table<'_>, places: &mut Vec<Regional>, p: &mut Problems) -> Option<DomainSettings> {
    if !table.has("certificate") {
        for key in MADE.into_iter().filter(|key| table.has(key)) {
            let at = table.any(key).expect("the key is there").at;
            p.add(
                at,
                format!(
                    "{}: expected `certificate` beside it: without a certificate the stack does not make the domain",
                    table.key(key)
                ),
            );
        }
    }
    let certificate = table.ruled("certificate", keys::API_DOMAIN.rule("certificate"), p);
    let minimum_tls = table.ruled("minimum_tls", keys::API_DOMAIN.rule("minimum_tls"), p);
    let truststore = table.ruled("truststore", keys::API_DOMAIN.rule("truststore"), p);
    let truststore_version = table.ruled(
        "truststore_version",
        keys::API_DOMAIN.rule("truststore_version"),
        p,
    );
    let ownership = table.ruled(
        "ownership_certificate",
        keys::API_DOMAIN.rule("ownership_certificate"),
        p,
    );
    for (key, arn) in [("certificate", certificate), ("ownership_certificate", ownership)] {
        places.extend(arn.map(|arn| regional(table, key, arn, p)));
    }
    for key in ["truststore_version", "ownership_certificate"] {
        if let Some(found) = table.any(key).filter(|_| !table.has("truststore")) {
            p.add(
                found.at,
                format!("{}: expected `truststore` beside it", table.key(key)),
            );
        }
    }
    let security_policy = minimum_tls.map_or("1.2", |tls| tls.value);
    if let Some(tls) = minimum_tls.filter(|tls| tls.value != "1.2" && table.has("truststore")) {
        p.add(
            tls.at,
            format!(
                "{}: expected \"1.2\" with a truststore, as API Gateway's mutual TLS needs it, got {}",
                table.key("minimum_tls"),
                quoted(tls.value)
            ),
        );
    }
    let text = |found: Option<super::problems::At<&str>>| {
        found.map_or_else(String::new, |found| found.value.to_owned())
    };
    Some(DomainSettings {
        certificate: certificate?.value.to_owned(),
        ownership_certificate: text(ownership),
        security_policy: match security_policy {
            "1.0" => "TLS_1_0",
            "1.2" => "TLS_1_2",
            "1.3" => "SecurityPolicy_TLS13_1_3_2025_09",
            name => name,
        }
        .to_owned(),
        truststore: text(truststore),
        truststore_version: text(truststore_version),
    })
}
