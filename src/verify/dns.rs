//! Where a name of the user's own leads in DNS, and whether that is where AWS serves the domain.
//!
//! Must not send anything to where it leads.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Check, Probe};
use crate::pause::Pauses;

/// How long a name is looked up again that seems to lead elsewhere. AWS answers some of its many addresses, each for a
/// minute, so the name and AWS's host name may have none in common at first.
const SETTLED: Duration = Duration::from_secs(65);

/// Where a domain leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Addresses {
    /// To where AWS serves the domain, as far as that is known; not empty.
    Resolved(Vec<SocketAddr>),
    /// To other addresses than AWS's host name.
    Elsewhere {
        /// Those of the domain; not empty.
        found: Vec<SocketAddr>,
        /// Those of AWS's host name; empty if it does not resolve.
        target: Vec<SocketAddr>,
    },
    /// The name does not resolve: where AWS serves the domain; not empty.
    OfTarget(Vec<SocketAddr>),
    /// Neither resolves.
    None,
}

impl Addresses {
    /// Where the domain can be reached; empty if nowhere.
    pub fn reachable(&self) -> &[SocketAddr] {
        match self {
            Self::Resolved(found) | Self::Elsewhere { found, .. } | Self::OfTarget(found) => found,
            Self::None => &[],
        }
    }
}

/// The addresses of a host name, as this machine sees DNS; empty if it does not resolve.
pub async fn resolve(name: &str) -> Vec<SocketAddr> {
    let found = tokio::net::lookup_host((name, 443)).await;
    found.map(Iterator::collect).unwrap_or_default()
}

/// Looks once.
pub async fn addresses(
    resolve: &impl AsyncFn(&str) -> Vec<SocketAddr>,
    name: &str,
    target: Option<&str>,
) -> Addresses {
    Seen::default().look(resolve, name, target).await
}

/// All addresses that were ever answered.
#[derive(Default)]
struct Seen {
    of_name: BTreeSet<SocketAddr>,
    of_target: BTreeSet<SocketAddr>,
}

impl Seen {
    async fn look(
        &mut self,
        resolve: &impl AsyncFn(&str) -> Vec<SocketAddr>,
        name: &str,
        target: Option<&str>,
    ) -> Addresses {
        let found = resolve(name).await;
        let Some(target) = target else {
            return if found.is_empty() {
                Addresses::None
            } else {
                Addresses::Resolved(found)
            };
        };
        let of_target = resolve(target).await;
        self.of_name.extend(&found);
        self.of_target.extend(&of_target);
        match (found.is_empty(), of_target.is_empty()) {
            (true, true) => Addresses::None,
            (true, false) => Addresses::OfTarget(of_target),
            (false, _) if self.of_name.is_disjoint(&self.of_target) => Addresses::Elsewhere {
                found,
                target: of_target,
            },
            (false, _) => Addresses::Resolved(found),
        }
    }
}

/// Waits until the name leads to AWS's host name, for at most this time. `tell` gets what is waited for.
pub async fn wait(
    resolve: &impl AsyncFn(&str) -> Vec<SocketAddr>,
    name: &str,
    target: Option<&str>,
    longest: Duration,
    tell: &dyn Fn(&str),
) -> Addresses {
    let began = Instant::now();
    let mut pauses = Pauses::growing();
    let mut seen = Seen::default();
    let mut is_told = false;
    loop {
        let found = seen.look(resolve, name, target).await;
        let longest = match &found {
            Addresses::Resolved(_) => return found,
            Addresses::Elsewhere { .. } => longest.max(SETTLED),
            Addresses::OfTarget(_) | Addresses::None => longest,
        };
        let left = longest.saturating_sub(began.elapsed());
        if left.is_zero() {
            return found;
        }
        if !is_told {
            let to = target.map_or(String::new(), |target| format!(" to {target}"));
            tell(&format!("waiting for {name} to resolve{to}"));
            is_told = true;
        }
        pauses.wait(left).await;
    }
}

/// Whether there is a record of this name that leads to where AWS serves the domain.
pub fn probe(name: &str, target: Option<&str>, found: &Addresses) -> Probe {
    let target = target.unwrap_or("AWS's host name");
    let (got, likely) = match found {
        Addresses::Resolved(_) => ("a record".to_owned(), None),
        Addresses::Elsewhere { found, target: of } => {
            let of = match &of[..] {
                [] => format!("{target} does not resolve"),
                of => format!("{target} is at {}", listed(of)),
            };
            (
                format!("a record that leads to {}, while {of}", listed(found)),
                Some(
                    "the record leads elsewhere, or DNS still remembers an earlier one: `provision outputs` prints what to make",
                ),
            )
        }
        Addresses::OfTarget(_) | Addresses::None => (
            "no record yet".to_owned(),
            Some(
                "nobody has made the record in DNS: `provision outputs` and `provision outputs --format route53` print it",
            ),
        ),
    };
    Probe {
        check: Check::Dns,
        route: Some(name.to_owned()),
        client: None,
        expected: format!("a record that leads to {target}"),
        got,
        ok: likely.is_none(),
        likely,
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    let all: BTreeSet<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const NAME: &str = "api.example.com";
    const TARGET: &str = "d-a1b2.execute-api.eu-west-1.amazonaws.com";

    fn at(addresses: &[u8]) -> Vec<SocketAddr> {
        let all = addresses.iter();
        all.map(|last| ([192, 0, 2, *last], 443).into()).collect()
    }

    /// What is found, how many seconds that takes, and what is told meanwhile. The answers are those of the name and of the
    /// target, one pair a look; the last pair stays.
    async fn found(
        answers: &[(&[u8], &[u8])],
        target: Option<&str>,
        longest: u64,
    ) -> (Addresses, u64, Vec<String>) {
        let looks = Cell::new(0);
        let resolver = async |name: &str| {
            let (of_name, of_target) = answers[looks.get().min(answers.len() - 1)];
            match name {
                NAME => at(of_name),
                TARGET => {
                    looks.set(looks.get() + 1);
                    at(of_target)
                }
                other => panic!("{other} was looked up"),
            }
        };
        let told = RefCell::new(Vec::new());
        let tell = |line: &str| told.borrow_mut().push(line.to_owned());
        let began = Instant::now();
        let found = wait(&resolver, NAME, target, Duration::from_secs(longest), &tell).await;
        (found, began.elapsed().as_secs(), told.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_counts_only_if_it_leads_to_the_target() {
        let waiting = vec![format!("waiting for {NAME} to resolve to {TARGET}")];
        let elsewhere = |found: &[u8], target: &[u8]| Addresses::Elsewhere {
            found: at(found),
            target: at(target),
        };
        for (answers, longest, expected, seconds) in [
            (
                &[(&[1, 2][..], &[2, 3][..])][..],
                0,
                Addresses::Resolved(at(&[1, 2])),
                0,
            ),
            // Nobody has made it, and then somebody does.
            (&[(&[], &[2])], 0, Addresses::OfTarget(at(&[2])), 0),
            (&[(&[], &[])], 10, Addresses::None, 10),
            (
                &[(&[], &[2]), (&[], &[2]), (&[2], &[2])],
                60,
                Addresses::Resolved(at(&[2])),
                3,
            ),
            // It leads elsewhere, for as long as AWS may answer others of its addresses.
            (&[(&[9], &[1, 2])], 0, elsewhere(&[9], &[1, 2]), 65),
            (&[(&[9], &[1, 2])], 600, elsewhere(&[9], &[1, 2]), 600),
            (&[(&[9], &[])], 0, elsewhere(&[9], &[]), 65),
            // The same place, of whose addresses DNS answers some.
            (
                &[(&[1], &[2]), (&[3], &[4]), (&[5], &[1])],
                0,
                Addresses::Resolved(at(&[5])),
                3,
            ),
        ] {
            let (found, took, told) = found(answers, Some(TARGET), longest).await;
            assert_eq!((&found, took), (&expected, seconds), "{answers:?}");
            assert_eq!(told, if seconds == 0 { Vec::new() } else { waiting.clone() });
            assert_eq!(
                probe(NAME, Some(TARGET), &found).ok,
                matches!(found, Addresses::Resolved(_))
            );
        }
        // A domain of somebody else, whose target is not on record.
        let (theirs, ..) = found(&[(&[9], &[])], None, 0).await;
        assert_eq!(theirs, Addresses::Resolved(at(&[9])));
    }

    #[test]
    fn what_it_leads_to_is_told_with_what_it_should() {
        let found = Addresses::Elsewhere {
            found: at(&[9]),
            target: at(&[1, 2]),
        };
        let probe = probe(NAME, Some(TARGET), &found);
        assert_eq!(probe.expected, format!("a record that leads to {TARGET}"));
        assert_eq!(
            probe.got,
            format!("a record that leads to 192.0.2.9, while {TARGET} is at 192.0.2.1, 192.0.2.2")
        );
    }

    /// A resolver of the machine, whose names of loopback need no server.
    #[tokio::test]
    async fn this_machine_knows_its_own_name_and_no_invalid_one() {
        assert!(
            resolve("localhost")
                .await
                .iter()
                .all(|found| found.ip().is_loopback())
        );
        assert!(!resolve("localhost").await.is_empty());
        assert_eq!(
            addresses(&resolve, "api.example.invalid", None).await,
            Addresses::None
        );
    }
}
