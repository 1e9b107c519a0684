//! A pipeline of GitHub or GitLab, as a user names it, and the trust policy of the role that it may use.
//!
//! Must not do I/O, and must not put a wildcard into a policy: the pipeline of one repository in one place gets the role.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// What GitHub's jobs and GitLab's put into `aud`: the audience that AWS's own tools ask for.
const AUDIENCE: &str = "sts.amazonaws.com";
/// Who issues GitHub's tokens.
const GITHUB: &str = "token.actions.githubusercontent.com";
/// The branch whose jobs are trusted where nothing else is named.
const BRANCH: &str = "main";
/// The longest name of a part: GitHub allows 255 characters for an environment, and GitLab for a path or a branch.
const LONGEST: usize = 255;

/// `github:ORG/REPO[:ENVIRONMENT]` or `gitlab:GROUP/PROJECT[:BRANCH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pipeline {
    /// The jobs of a repository on GitHub.
    Github {
        /// `ORG/REPO`, or `ORG@ID/REPO@ID`: as the claim begins after `repo:`.
        repository: String,
        /// The environment that the job names; `None`: jobs without one, on the branch `main`.
        environment: Option<String>,
    },
    /// The jobs of a project on GitLab.
    Gitlab {
        /// `GROUP/PROJECT`, with all groups above it.
        project: String,
        /// The branch that the job runs for.
        branch: String,
    },
}

impl Pipeline {
    /// The claim `sub` of its tokens.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Github {
                repository,
                environment: Some(environment),
            } => format!("repo:{repository}:environment:{environment}"),
            Self::Github {
                repository,
                environment: None,
            } => format!("repo:{repository}:ref:refs/heads/{BRANCH}"),
            Self::Gitlab { project, branch } => {
                format!("project_path:{project}:ref_type:branch:ref:{branch}")
            }
        }
    }

    /// Whether GitHub may put numbers into the claim that are not in it here.
    pub(crate) fn lacks_ids(&self) -> bool {
        matches!(self, Self::Github { repository, .. } if !repository.contains('@'))
    }

    /// The policy that lets this pipeline use a role of this account. `gitlab_host` is where GitLab is.
    pub(crate) fn trust(&self, partition: &str, account: &str, gitlab_host: &str) -> Value {
        let issuer = match self {
            Self::Github { .. } => GITHUB,
            Self::Gitlab { .. } => gitlab_host,
        };
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "Pipeline",
                "Effect": "Allow",
                "Principal": { "Federated": format!("arn:{partition}:iam::{account}:oidc-provider/{issuer}") },
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": { "StringEquals": {
                    format!("{issuer}:aud"): AUDIENCE,
                    format!("{issuer}:sub"): self.subject(),
                }},
            }],
        })
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Github {
                repository,
                environment,
            } => {
                write!(f, "github:{repository}")?;
                environment.iter().try_for_each(|name| write!(f, ":{name}"))
            }
            Self::Gitlab { project, branch } => write!(f, "gitlab:{project}:{branch}"),
        }
    }
}

impl FromStr for Pipeline {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected github:ORG/REPO[:ENVIRONMENT] or gitlab:GROUP/PROJECT[:BRANCH]";
        let (kind, rest) = text.split_once(':').ok_or(expected)?;
        let (path, place) = match rest.split_once(':') {
            Some((path, place)) => (path, Some(place)),
            None => (rest, None),
        };
        if place.is_some_and(|place| !is_place(place)) {
            return Err(
                "expected an environment or a branch of ASCII letters, digits, `-`, `_`, `.` and `/`, without wildcards",
            );
        }
        match kind {
            "github" if is_repository(path) => Ok(Self::Github {
                repository: path.to_owned(),
                environment: place.map(str::to_owned),
            }),
            "github" => Err(
                "expected github:ORG/REPO, or github:ORG@ID/REPO@ID with the numbers of both, without wildcards",
            ),
            "gitlab" if is_project(path) => Ok(Self::Gitlab {
                project: path.to_owned(),
                branch: place.unwrap_or(BRANCH).to_owned(),
            }),
            "gitlab" => Err("expected gitlab:GROUP/PROJECT, with all groups above it, without wildcards"),
            _ => Err(expected),
        }
    }
}

/// ASCII letters, digits and these.
fn is_name(text: &str, others: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// An environment or a branch. GitHub would encode a colon, and `*`, `?` and `$` have a meaning in policies.
fn is_place(text: &str) -> bool {
    is_name(text, "-_./") && !text.contains("..") && !text.starts_with('/') && !text.ends_with('/')
}

/// `ORG/REPO`, both with their numbers or neither. A user of a company has `_` in the name.
fn is_repository(path: &str) -> bool {
    let Some((owner, name)) = path.split_once('/') else {
        return false;
    };
    let with_id = |text: &'_ str| match text.split_once('@') {
        Some((name, id)) => (name.to_owned(), Some(id.to_owned())),
        None => (text.to_owned(), None),
    };
    let ((owner, owner_id), (name, name_id)) = (with_id(owner), with_id(name));
    let is_id = |id: &Option<String>| id.as_ref().is_none_or(|id| is_number(id));
    is_name(&owner, "-_")
        && is_name(&name, "-_.")
        && ![".", ".."].contains(&name.as_str())
        && owner_id.is_some() == name_id.is_some()
        && is_id(&owner_id)
        && is_id(&name_id)
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

fn is_project(path: &str) -> bool {
    let is_part = |part: &str| {
        let begins = part
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        begins && is_name(part, "-_.")
    };
    path.contains('/') && path.split('/').all(is_part)
}

/// Whether this is the name of a host, which goes into the ARN of the provider.
pub(crate) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| is_name(label, "-") && !label.starts_with('-') && !label.ends_with('-');
    text.len() <= LONGEST && text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_of_one_repository_in_one_place() {
        for (text, subject) in [
            ("github:acme/shop", "repo:acme/shop:ref:refs/heads/main"),
            (
                "github:acme/shop:production",
                "repo:acme/shop:environment:production",
            ),
            (
                "github:acme@123456/shop@456789",
                "repo:acme@123456/shop@456789:ref:refs/heads/main",
            ),
            (
                "github:jo_acme@1/a.b-c_d@2:eu/live",
                "repo:jo_acme@1/a.b-c_d@2:environment:eu/live",
            ),
            (
                "gitlab:acme/shop",
                "project_path:acme/shop:ref_type:branch:ref:main",
            ),
            (
                "gitlab:acme/eu/shop:release/1.2",
                "project_path:acme/eu/shop:ref_type:branch:ref:release/1.2",
            ),
        ] {
            let pipeline: Pipeline = text.parse().unwrap();
            assert_eq!(pipeline.subject(), subject);
            assert!(pipeline.to_string().starts_with(text), "{pipeline}");
        }
    }

    #[test]
    fn a_name_that_is_not_one_or_has_a_wildcard_is_refused() {
        for text in [
            "",
            "github",
            "github:",
            "github:acme",
            "github:acme/",
            "github:/shop",
            "github:acme/shop/x",
            "github:acme/*",
            "github:*/shop",
            "github:acme/sho?",
            "github:acme/shop:",
            "github:acme/shop:*",
            "github:acme/shop:prod*",
            "github:acme/shop:a:b",
            "github:acme/shop:${aws:username}",
            "github:acme/shop:pro duction",
            "github:acme/shop:a\nb",
            "github:acme/..",
            "github:acme@1/shop",
            "github:acme/shop@2",
            "github:acme@/shop@",
            "github:acme@1@2/shop@3",
            "github:acme@x/shop@y",
            "github:acmé/shop",
            "github:acme/shop\"",
            "gitlab:shop",
            "gitlab:acme//shop",
            "gitlab:acme/-shop",
            "gitlab:acme/*",
            "gitlab:acme/shop:*",
            "gitlab:acme/shop:../main",
            "gitlab:acme@1/shop@2",
            "bitbucket:acme/shop",
            "Github:acme/shop",
        ] {
            assert!(text.parse::<Pipeline>().is_err(), "{text:?}");
        }
        let long = format!("github:acme/{}", "x".repeat(256));
        assert!(long.parse::<Pipeline>().is_err());
        for (host, is_one) in [
            ("gitlab.com", true),
            ("git.example-1.org", true),
            ("localhost", false),
            ("", false),
            ("gitlab.com:443", false),
            ("gitlab.com/x", false),
            ("-a.b", false),
            ("a..b", false),
            ("*.example.org", false),
        ] {
            assert_eq!(is_host(host), is_one, "{host}");
        }
    }

    #[test]
    fn the_policy_compares_whole_texts() {
        let github: Pipeline = "github:acme/shop:production".parse().unwrap();
        assert_eq!(
            github.trust("aws", "123456789012", "gitlab.com"),
            json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Sid": "Pipeline",
                    "Effect": "Allow",
                    "Principal": {
                        "Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
                    },
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": { "StringEquals": {
                        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                        "token.actions.githubusercontent.com:sub": "repo:acme/shop:environment:production",
                    }},
                }],
            })
        );
        let gitlab: Pipeline = "gitlab:acme/shop".parse().unwrap();
        let policy = gitlab.trust("aws-us-gov", "123456789012", "git.example.org");
        let statement = &policy["Statement"][0];
        assert_eq!(
            statement["Principal"]["Federated"],
            "arn:aws-us-gov:iam::123456789012:oidc-provider/git.example.org"
        );
        assert_eq!(
            statement["Condition"],
            json!({ "StringEquals": {
                "git.example.org:aud": "sts.amazonaws.com",
                "git.example.org:sub": "project_path:acme/shop:ref_type:branch:ref:main",
            }})
        );
        assert!(github.lacks_ids() && !gitlab.lacks_ids());
        assert!(!"github:a@1/b@2".parse::<Pipeline>().unwrap().lacks_ids());
    }
}
