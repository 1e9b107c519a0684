//! The API's own domain in `verify`: where it leads, and what of it is to be proved.
//!
//! Must not send a token, nor change anything.

use std::rc::Rc;
use std::time::Duration;

use reqwest::Client as Http;

use super::super::outputs::{Front, Outputs};
use super::super::ui::Ui;
use crate::error::Failure;
use crate::oauth::http_client_to;
use crate::verify::dns::{self, Addresses};
use crate::verify::front::{self, Nowhere};
use crate::verify::hello::Version;
use crate::verify::{Probe, Route};

/// The domain, if this is how the API is called and there is no record in DNS yet: then where AWS serves the domain.
async fn addresses(outputs: &Outputs) -> Addresses {
    match &outputs.front {
        Some(front) if front.is_default_closed => {
            dns::addresses(&dns::resolve, &front.domain, front.target.as_deref()).await
        }
        _ => Addresses::None,
    }
}

/// A client for the token endpoint and for the URL at which the API is called.
pub(super) async fn http(outputs: &Outputs) -> Result<Http, Failure> {
    let found = addresses(outputs).await;
    Ok(client(outputs, &found)?)
}

fn client(outputs: &Outputs, found: &Addresses) -> anyhow::Result<Http> {
    let known = match (&outputs.front, found) {
        (Some(front), Addresses::OfTarget(found)) => Some((front.domain.as_str(), &found[..])),
        _ => None,
    };
    http_client_to(&outputs.secrets_url, known)
}

/// Why the routes cannot be asked; `None`: they can.
pub(super) fn unasked(outputs: &Outputs) -> Option<String> {
    let front = outputs.front.as_ref()?;
    (front.is_mutual && front.is_default_closed).then(|| {
        format!(
            "the routes were not asked: clients need a certificate at {}, and the API does not answer at AWS's own host name",
            front.domain
        )
    })
}

/// Proves the domains, as far as there are any. Waits so long for each record.
pub(super) async fn prove(
    outputs: &Outputs,
    routes: &[Route],
    longest: Option<Duration>,
    patience: Duration,
    ui: &Rc<Ui>,
) -> Result<Vec<Probe>, Failure> {
    let (longest, tell) = (longest.unwrap_or_default(), |line: &str| ui.progress(line));
    let look =
        async |name: &str, target: Option<&str>| dns::wait(&dns::resolve, name, target, longest, &tell).await;
    let mut probes = Vec::new();
    let of_api = outputs.front.as_ref().map(|front| expected(front, outputs));
    let is_others = |name: &str| of_api.as_ref().is_none_or(|front| front.name != name);
    // An emulator serves every host at its one address.
    let records = outputs.dns.iter().filter(|_| !outputs.is_local);
    for record in records.filter(|record| is_others(&record.name)) {
        let found = look(&record.name, Some(&record.target)).await;
        probes.push(dns::probe(&record.name, Some(&record.target), &found));
    }
    if let Some(front) = &of_api {
        let found = look(&front.name, front.target.as_deref()).await;
        let http = client(outputs, &found)?;
        probes.extend(front::prove(&http, front, &found, &Nowhere::of(routes), patience).await);
    }
    Ok(probes)
}

fn expected(front: &Front, outputs: &Outputs) -> front::Front {
    front::Front {
        name: front.domain.clone(),
        url: front.url.clone(),
        target: front.target.clone(),
        oldest: front.security_policy.as_deref().map(oldest),
        is_mutual: front.is_mutual,
        closed_url: outputs.stage_url.clone().filter(|_| front.is_default_closed),
    }
}

/// The oldest version that a policy takes, which the names of the newer ones say as well.
fn oldest(policy: &str) -> Version {
    if policy == "TLS_1_0" {
        Version::Tls10
    } else if policy.starts_with("SecurityPolicy_TLS13_1_3_") {
        Version::Tls13
    } else {
        Version::Tls12
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_which_versions_are_old() {
        for (policy, version) in [
            ("TLS_1_0", Version::Tls10),
            ("TLS_1_2", Version::Tls12),
            ("SecurityPolicy_TLS13_1_2_2021_06", Version::Tls12),
            ("SecurityPolicy_TLS13_1_3_FIPS_2025_09", Version::Tls13),
        ] {
            assert_eq!(oldest(policy), version, "{policy}");
        }
    }
}
