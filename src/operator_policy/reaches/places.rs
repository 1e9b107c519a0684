//! The state in S3, and the places where secrets are.

use std::collections::BTreeSet;

use super::super::Scope;
use super::super::on::On::{
    self, HandOutParameter, HandOutRole, HandOutSecret, NamedParameter, NamedSecret, State, StateBucket,
    StateKey,
};
use super::{Reach, all, is};
use crate::secret_place::SecretPlace;

impl Scope {
    pub(super) fn reaches_of_places(&self, on: On) -> Vec<Reach> {
        let role: Vec<String> = self.hand_out_role.iter().cloned().collect();
        // What a role writes to, the role needs the rights for.
        let written = self.hand_out.iter().filter(|_| role.is_empty());
        let written: BTreeSet<SecretPlace> = written.cloned().collect();
        match on {
            NamedSecret => all(on, self.secrets_of(&self.secrets), None),
            NamedParameter => all(on, self.parameters_of(&self.secrets), None),
            HandOutSecret => all(on, self.secrets_of(&written), None),
            HandOutParameter => all(on, self.parameters_of(&written), None),
            HandOutRole => all(on, role, None),
            State => {
                let object =
                    |(bucket, key): &(String, String)| self.arn("s3", "", "", &format!("{bucket}/{key}"));
                all(on, self.state.iter().map(object).collect(), None)
            }
            StateBucket => {
                let Some((bucket, key)) = &self.state else {
                    return Vec::new();
                };
                let bucket = self.arn("s3", "", "", bucket);
                all(on, vec![bucket], is("s3:prefix", std::slice::from_ref(key)))
            }
            StateKey => {
                let Some(key) = &self.state_key else {
                    return Vec::new();
                };
                // The fourth part of an ARN is the region, which is the bucket's too.
                let region = key.split(':').nth(3).unwrap_or_default();
                let through = format!("s3.{region}.amazonaws.com");
                all(on, vec![key.clone()], is("kms:ViaService", &[through]))
            }
            _ => unreachable!("{on:?} is not of a place"),
        }
    }

    fn secrets_of(&self, places: &BTreeSet<SecretPlace>) -> Vec<String> {
        let arns = places.iter().filter_map(|place| match place {
            SecretPlace::SecretsManager(name) if name.starts_with("arn:") => Some(name.clone()),
            // AWS adds a `-` and six characters to the name.
            SecretPlace::SecretsManager(name) => {
                Some(self.here("secretsmanager", &format!("secret:{name}-??????")))
            }
            SecretPlace::Parameter(_) => None,
        });
        arns.collect()
    }

    fn parameters_of(&self, places: &BTreeSet<SecretPlace>) -> Vec<String> {
        let arns = places.iter().filter_map(|place| match place {
            SecretPlace::SecretsManager(_) => None,
            SecretPlace::Parameter(name) => Some(self.here("ssm", &format!("parameter{name}"))),
        });
        arns.collect()
    }
}
