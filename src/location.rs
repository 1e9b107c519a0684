//! Where the states of stacks are kept, as a user names it: a folder, or a place in an S3 bucket.
//!
//! Must not read or write anything.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A folder, or a prefix in a bucket. Each stack has one state in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On this machine.
    Folder(PathBuf),
    /// In S3.
    S3(Prefix),
}

/// Where in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The bucket's name.
    pub bucket: String,
    /// Without `/` at either end; empty for the bucket itself.
    pub prefix: String,
}

impl Prefix {
    /// The key of this stack's state.
    pub fn key(&self, stack: &str) -> String {
        if self.prefix.is_empty() {
            format!("{stack}.json")
        } else {
            format!("{}/{stack}.json", self.prefix)
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.prefix)
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::S3(prefix) => prefix.fmt(f),
        }
    }
}

/// As many bytes as the longest name of a stack and `.json` leave of a key's 1,024.
const LONGEST_PREFIX: usize = 900;

impl FromStr for Location {
    type Err = String;

    /// `s3://BUCKET/PREFIX`, or a folder. A folder whose name begins like a URL can be written with `./` before it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a folder or s3://BUCKET/PREFIX".to_owned());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        if scheme != "s3" {
            return Err(format!(
                "{scheme}:// is not supported; expected a folder or s3://BUCKET/PREFIX"
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return Err(format!(
                "{bucket:?} is not a bucket name: expected 3 to 63 lower-case letters, digits, hyphens and dots"
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "!_.*'()-=".contains(c);
            !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
        };
        if !prefix.is_empty() && (prefix.len() > LONGEST_PREFIX || !prefix.split('/').all(is_plain)) {
            return Err(format!(
                "{prefix:?} is not a prefix: expected names of ASCII letters, digits and !_.*'()-= between single slashes"
            ));
        }
        Ok(Self::S3(Prefix {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }))
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket(name: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
        && is_end(name.chars().next())
        && is_end(name.chars().last())
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_bucket_is_told_from_a_folder() {
        let key = |text: &str| match text.parse() {
            Ok(Location::S3(prefix)) => (prefix.bucket.clone(), prefix.key("shop"), prefix.to_string()),
            other => panic!("{text}: {other:?}"),
        };
        for (text, bucket, place, shown) in [
            (
                "s3://team-state/provision",
                "team-state",
                "provision/shop.json",
                "s3://team-state/provision",
            ),
            (
                "s3://team-state/a/b/",
                "team-state",
                "a/b/shop.json",
                "s3://team-state/a/b",
            ),
            ("s3://team.state", "team.state", "shop.json", "s3://team.state"),
            ("s3://team-state/", "team-state", "shop.json", "s3://team-state"),
        ] {
            assert_eq!(
                key(text),
                (bucket.to_owned(), place.to_owned(), shown.to_owned()),
                "{text}"
            );
        }
        for folder in ["state", "/var/state", "./s3:/x", "~/x", "s3"] {
            assert_eq!(folder.parse(), Ok(Location::Folder(PathBuf::from(folder))));
        }
    }

    #[test]
    fn what_is_neither_is_refused_and_says_what_is_expected() {
        for (text, why) in [
            ("", "expected a folder"),
            ("S3://team-state/x", "S3:// is not supported"),
            ("https://team-state/x", "https:// is not supported"),
            ("s3://", "is not a bucket name"),
            ("s3://Team/x", "is not a bucket name"),
            ("s3://ab/x", "is not a bucket name"),
            ("s3://a..b/x", "is not a bucket name"),
            ("s3://team-state//x", "is not a prefix"),
            ("s3://team-state/a//x", "is not a prefix"),
            ("s3://team-state/../x", "is not a prefix"),
            ("s3://team-state/a b", "is not a prefix"),
            ("s3://team-state/ä", "is not a prefix"),
        ] {
            let refused = text.parse::<Location>().unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
