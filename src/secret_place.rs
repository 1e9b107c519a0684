//! A place in a service of AWS that keeps secrets, as a user names it.
//!
//! Must not call AWS: whether the place is there, and who may use it, is not known here.

use std::fmt;
use std::str::FromStr;

/// The text before the name of a secret of Secrets Manager.
const SECRETS_MANAGER: &str = "secretsmanager:";
/// The text before the name of a parameter of Systems Manager.
const SSM: &str = "ssm:";
/// The longest name of a parameter: AWS counts its ARN, which may have 1,011 characters.
const LONGEST: usize = 900;
/// The most parts that a parameter's name has.
const LEVELS: usize = 15;

/// `secretsmanager:NAME` or `ssm:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretPlace {
    /// The name or the ARN of a secret of Secrets Manager.
    SecretsManager(String),
    /// The name of a parameter of Systems Manager, which begins with `/`.
    Parameter(String),
}

impl FromStr for SecretPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(name) = text.strip_prefix(SECRETS_MANAGER) {
            let is_one = is_secret(name).then(|| Self::SecretsManager(name.to_owned()));
            return is_one.ok_or(());
        }
        let name = text.strip_prefix(SSM).filter(|name| is_parameter(name));
        name.map(|name| Self::Parameter(name.to_owned())).ok_or(())
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretsManager(name) => write!(f, "{SECRETS_MANAGER}{name}"),
            Self::Parameter(name) => write!(f, "{SSM}{name}"),
        }
    }
}

/// The characters of a name and of an ARN; the length is the ARN's.
fn is_secret(name: &str) -> bool {
    (1..=2048).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/_+=.@,:!-".contains(c))
}

/// AWS keeps names that begin with `aws` or `ssm` for itself.
fn is_parameter(name: &str) -> bool {
    let Some(path) = name.strip_prefix('/') else {
        return false;
    };
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    let begins = |word: &str| {
        path.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    name.len() <= LONGEST
        && path.split('/').all(is_part)
        && path.split('/').count() <= LEVELS
        && !begins("aws")
        && !begins("ssm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_named_again_with_the_same_words() {
        for text in [
            "secretsmanager:orders/app",
            "secretsmanager:prod/orders_a+b=c.d@e-f",
            "secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:rds!a-AbCdEf",
            "ssm:/orders/app",
            "ssm:/a_b.c-D/9",
            "ssm:/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15",
        ] {
            let place: SecretPlace = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn what_aws_would_refuse_is_not_a_place() {
        for text in [
            "",
            "secretsmanager:",
            "secretsmanager:a b",
            "secretsmanager",
            "ssm:",
            "ssm:/",
            "ssm:orders",
            "ssm:/orders/",
            "ssm://orders",
            "ssm:/or ders",
            "ssm:/orders:3",
            "ssm:/é",
            "ssm:/aws/orders",
            "ssm:/AWSorders",
            "ssm:/Ssm",
            "ssm:/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16",
            "s3:/orders",
            "/orders",
        ] {
            assert!(text.parse::<SecretPlace>().is_err(), "{text}");
        }
        assert!(format!("ssm:/{}", "a".repeat(899)).parse::<SecretPlace>().is_ok());
        assert!(
            format!("ssm:/{}", "a".repeat(900))
                .parse::<SecretPlace>()
                .is_err()
        );
    }
}
