//! The secrets of a client: whether a rotation is under way.
//!
//! Must not ask AWS, nor guess which of two secrets is the older.

use crate::aws::client_secrets::Listed;

/// The secrets of a client, as far as they can be told apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// No rotation is under way.
    One(Listed),
    /// One is.
    Two {
        /// To be deleted in the end.
        old: Listed,
        /// To stay.
        new: Listed,
    },
    /// None, too many, or two without dates that differ.
    Unclear(Vec<Listed>),
}

impl Secrets {
    pub(super) fn of(mut listed: Vec<Listed>) -> Self {
        match &listed[..] {
            [_] => Self::One(listed.remove(0)),
            [one, other] => match (one.created, other.created) {
                (Some(first), Some(second)) if first != second => {
                    listed.sort_by_key(|secret| secret.created);
                    let old = listed.remove(0);
                    let new = listed.remove(0);
                    Self::Two { old, new }
                }
                _ => Self::Unclear(listed),
            },
            _ => Self::Unclear(listed),
        }
    }

    /// Whether a rotation is open, as documents say it.
    pub(super) fn rotation(&self) -> &'static str {
        match self {
            Self::One(_) => "none",
            Self::Two { .. } => "under_way",
            Self::Unclear(_) => "unclear",
        }
    }

    /// Each of them, the older one first if that is known.
    pub(super) fn all(&self) -> Vec<&Listed> {
        match self {
            Self::One(secret) => vec![secret],
            Self::Two { old, new } => vec![old, new],
            Self::Unclear(secrets) => secrets.iter().collect(),
        }
    }
}

/// For people.
pub(super) fn since(secret: &Listed) -> String {
    secret.created.map_or_else(
        || "at an unknown time".to_owned(),
        |created| created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, created: Option<&str>) -> Listed {
        Listed {
            id: id.to_owned(),
            created: created.map(|created| created.parse().unwrap()),
        }
    }

    #[test]
    fn the_older_is_known_by_its_date_in_whatever_order_they_come() {
        let old = listed("b", Some("2026-11-01T10:00:00Z"));
        let new = listed("a", Some("2026-11-01T10:00:00.001Z"));
        for secrets in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
            let (old, new) = (old.clone(), new.clone());
            assert_eq!(Secrets::of(secrets), Secrets::Two { old, new });
        }
    }

    #[test]
    fn nothing_is_guessed() {
        let date = Some("2026-11-01T10:00:00Z");
        for secrets in [
            vec![],
            vec![listed("a", date), listed("b", date)],
            vec![listed("a", date), listed("b", None)],
            vec![listed("a", None), listed("b", None)],
            vec![
                listed("a", date),
                listed("b", Some("2026-11-02T10:00:00Z")),
                listed("c", None),
            ],
        ] {
            assert_eq!(Secrets::of(secrets.clone()), Secrets::Unclear(secrets));
        }
        let one = listed("a", None);
        assert_eq!(Secrets::of(vec![one.clone()]), Secrets::One(one));
    }
}
