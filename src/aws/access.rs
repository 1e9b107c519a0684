//! Checks the settings to reach AWS before any call: the SDK accepts almost anything, and then fails with an error of
//! its own, or sends a request elsewhere.
//!
//! Must not make a call.

use std::env;

use aws_config::SdkConfig;
#[expect(
    deprecated,
    reason = "the crate that has it under another name is needed for nothing else"
)]
use aws_config::profile::profile_file::ProfileFiles as Files;
use aws_config::profile::{self, ProfileFileCredentialsProvider};
use aws_config::provider_config::ProviderConfig;
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::service_config::ServiceConfigKey;
use reqwest::Url;

use super::{hosts, ids};
use crate::error::{Failure, Kind};

/// The services that are called, by the names that their own endpoints are set under.
const SERVICES: [&str; 10] = [
    "STS",
    "API Gateway",
    "Cognito Identity Provider",
    "EC2",
    "IAM",
    "Lambda",
    "CloudWatch Logs",
    "Secrets Manager",
    "SSM",
    "WAFV2",
];

/// The hint if the host names are not known.
pub(super) const KNOWN_REGIONS: &str = "use a region of the aws partition or of GovCloud";

/// The variable that sets the endpoint of all services. For one service its name ends in the service's name.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// Refuses an endpoint that is not a plain URL. `source` is where it was set.
pub(super) fn check_endpoint(endpoint: &str, source: &str) -> Result<(), Failure> {
    if endpoint.contains('@') {
        // Not quoted, as it may have a password.
        return Err(Failure::usage(format!(
            "invalid value for {source}: the URL has a user name or a password, and AWS takes neither"
        )));
    }
    let has_scheme = ["http://", "https://"]
        .iter()
        .any(|scheme| endpoint.starts_with(scheme));
    // Nothing that two parsers of URLs could read as different parts.
    let is_plain = (endpoint.chars()).all(|c| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c));
    if has_scheme && is_plain && Url::parse(endpoint).is_ok_and(|url| url.has_host()) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "invalid value {endpoint:?} for {source}: expected a URL such as http://127.0.0.1:4566"
    )))
}

/// The endpoint in place of AWS. It must be the same for every service, or a stack would be in two places.
pub(super) fn endpoint(config: &SdkConfig) -> Result<Option<String>, Failure> {
    if config.get_origin("endpoint_url").is_client_config() {
        // From the command line or the sandbox, and already checked: it comes before all other settings.
        return Ok(config.endpoint_url().map(str::to_owned));
    }
    let mut first = None;
    for (place, service) in SERVICES.into_iter().enumerate() {
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env(ENDPOINT)
            .profile("endpoint_url");
        let key = key.build().expect("all that a key has is given");
        let own = config
            .service_config()
            .and_then(|settings| settings.load_config(key));
        if let Some(endpoint) = &own {
            check_endpoint(endpoint, &source(service))?;
        }
        let own = own.map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        if place == 0 {
            first = own;
        } else if own != first {
            let at = |endpoint: Option<String>| endpoint.unwrap_or_else(|| "AWS".to_owned());
            let set = [service, SERVICES[0]]
                .map(variable)
                .into_iter()
                .find(|name| env::var(name).is_ok());
            return Err(Failure::usage(format!(
                "{service} is at {} and {} at {}: expected one endpoint for all services",
                at(own),
                SERVICES[0],
                at(first)
            ))
            .hinted(match set {
                Some(name) => format!("unset {name}, or set it to the value of {ENDPOINT}"),
                None => "set `endpoint_url` in the profile, and leave out its `services`".to_owned(),
            }));
        }
    }
    Ok(first)
}

/// The variable for the endpoint of this service alone.
fn variable(service: &str) -> String {
    format!("{ENDPOINT}_{}", service.to_uppercase().replace(' ', "_"))
}

/// Where the endpoint of this service is set.
fn source(service: &str) -> String {
    let variables = [variable(service), ENDPOINT.to_owned()];
    let set = variables.into_iter().find(|name| env::var(name).is_ok());
    set.unwrap_or_else(|| "endpoint_url of the profile".to_owned())
}

/// The region from the environment, because the SDK takes an empty variable for a region. `Err` if only the profile has
/// one.
pub(super) fn region_beside_an_empty_one() -> Option<Result<String, ()>> {
    let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].map(env::var);
    let is_empty = |value: &Result<String, env::VarError>| value.as_ref().is_ok_and(String::is_empty);
    if !set.iter().any(is_empty) {
        return None;
    }
    let text = set.into_iter().flatten().find(|value| !value.is_empty());
    Some(text.ok_or(()))
}

/// Refuses a text that is not a region, because it goes into host names, and a region whose host names are not known.
pub(super) fn check_region(region: &str) -> Result<(), Failure> {
    if !(ids::REGION.holds)(region) {
        return Err(Failure::usage(format!(
            "invalid region {region:?}: expected {}",
            ids::REGION.what
        )));
    }
    if !hosts::is_known_region(region) {
        return Err(Failure::usage(format!(
            "the host name of Cognito's token endpoint in region {region} is not known to this program"
        ))
        .hinted(KNOWN_REGIONS));
    }
    Ok(())
}

/// Refuses a profile that no file has.
pub(super) async fn check_profile(name: &str) -> Result<(), Failure> {
    let selected = Some(name.to_owned().into());
    #[expect(deprecated, reason = "as above")]
    let files = Files::default();
    let profiles = profile::load(&Fs::real(), &Env::real(), &files, selected).await;
    let profiles = profiles.map_err(|error| {
        Failure::new(
            Kind::Usage,
            anyhow::Error::new(error).context("cannot read the profiles of AWS"),
        )
    })?;
    if profiles.get_profile(name).is_some() {
        return Ok(());
    }
    Err(Failure::usage(format!("profile {name:?} does not exist"))
        .hinted("`aws configure list-profiles` prints which there are"))
}

/// The credentials of a profile, whatever else is in the environment: keys, roles, SSO, or what a process prints.
pub(super) fn credentials(profile: &str, config: &SdkConfig) -> ProfileFileCredentialsProvider {
    let settings = ProviderConfig::without_region().with_region(config.region().cloned());
    ProfileFileCredentialsProvider::builder()
        .configure(&settings)
        .profile_name(profile)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_plain_url() {
        for good in [
            "http://127.0.0.1:4566",
            "https://aws.example.com/",
            "http://[::1]:80/a_b",
        ] {
            assert!(check_endpoint(good, "X").is_ok(), "{good}");
        }
        for bad in [
            "",
            "x",
            "http://",
            "//host",
            "file:///etc",
            "ftp://host",
            "http://a b",
            "http://a\\b",
            "http://a?b",
            "http://a#b",
            "http:host",
            "http://host:99999",
            "http://a\nb",
            "http://\u{1b}[2J",
        ] {
            let failure = check_endpoint(bad, "X").unwrap_err();
            assert_eq!(failure.kind.exit_code(), 2);
            let message = failure.error.unwrap().to_string();
            assert!(
                message.starts_with(&format!("invalid value {bad:?} for X: expected a URL")),
                "{message}"
            );
        }
        let failure = check_endpoint("http://user:hunter2@host", "X").unwrap_err();
        let message = failure.error.unwrap().to_string();
        assert!(
            !message.contains("hunter2") && message.contains("user name or a password"),
            "{message}"
        );
    }

    #[test]
    fn a_region_is_of_words_and_a_number() {
        for good in ["eu-west-1", "us-gov-west-1", "ap-southeast-12"] {
            assert!(check_region(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "eu west 1",
            "../..",
            "eu-west-1.evil.example/",
            "eu-west-",
            "-west-1",
            "EU-WEST-1",
            "eu-1",
            // Regions, but with token hosts that nobody documents.
            "cn-north-1",
            "eusc-de-east-1",
        ] {
            assert_eq!(check_region(bad).unwrap_err().kind.exit_code(), 2, "{bad}");
        }
    }
}
