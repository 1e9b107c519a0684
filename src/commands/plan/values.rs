//! What stands for the values of environment variables where a plan leaves this machine: nothing that tells a value, and nothing
//! to try guesses on quickly.
//!
//! Must not print or write anything.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::engine::plan::Plan;
use crate::resource::Resource as _;
use crate::resources::Function;

/// The field of a function that has a fingerprint of every value. A fingerprint is a plain hash: a short value can be guessed.
pub(crate) const FIELD: &str = "environment";

/// How often a digest is hashed in all: about half a second.
const ROUNDS: usize = 4_800_000;
/// How often one is, at least and at most: what OWASP recommends for this algorithm.
const LEAST_AND_MOST: (usize, usize) = (50_000, 600_000);

/// The digests of environments in a saved plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Environments {
    /// How they are made.
    pub slow: Slow,
    /// Of every function that has variables, by its step.
    pub functions: BTreeMap<String, Environment>,
}

/// The digests of the environment of one function: of all its values together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Environment {
    /// As it is configured.
    pub declared: Option<String>,
    /// As it is live; `None` if it is as it is on record.
    pub live: Option<String>,
}

/// A hash that is slow on purpose, and another one for every plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    salt: String,
    rounds: u32,
}

impl Slow {
    /// For so many digests.
    pub(crate) fn new(digests: usize) -> Result<Self> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
        let (least, most) = LEAST_AND_MOST;
        let rounds = (ROUNDS / digests.max(1)).clamp(least, most);
        Ok(Self {
            salt: URL_SAFE_NO_PAD.encode(salt),
            rounds: u32::try_from(rounds).expect("the most is small"),
        })
    }

    /// Of an environment with the fingerprints of its values.
    ///
    /// # Errors
    /// This was read from a file, and is not what [`Slow::new`] makes.
    pub(crate) fn digest(&self, environment: &Value) -> Result<String> {
        let rounds = usize::try_from(self.rounds)?;
        let (least, most) = LEAST_AND_MOST;
        ensure!(
            (least..=most).contains(&rounds),
            "expected {least} to {most} rounds"
        );
        let rounds = NonZeroU32::new(self.rounds).context("expected more than no round")?;
        let text = serde_json::to_vec(environment)?;
        let mut digest = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, self.salt.as_bytes(), &text, &mut digest);
        Ok(URL_SAFE_NO_PAD.encode(digest))
    }
}

/// The variables of a function, if these are the fields of one that has any.
pub(crate) fn variables<'a>(kind: &str, fields: &'a Value) -> Option<&'a Value> {
    let environment = &fields[FIELD];
    let has_any = environment.as_object().is_some_and(|map| !map.is_empty());
    (kind == Function::NAME && has_any).then_some(environment)
}

/// The fields of a resource with the names of its variables only.
pub(crate) fn names_only(kind: &str, fields: &Value) -> Value {
    let mut fields = fields.clone();
    if let Some(variables) = variables(kind, &fields).and_then(Value::as_object) {
        fields[FIELD] = json!(variables.keys().collect::<Vec<_>>());
    }
    fields
}

/// The plan, with words in the place of fingerprints.
pub(crate) fn without_fingerprints(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for planned in &mut plan.steps {
        let is_function = planned.kind == Function::NAME;
        for field in planned
            .fields
            .iter_mut()
            .filter(|field| is_function && field.field == FIELD)
        {
            let (before, after) = (field.before.clone(), field.after.clone());
            let stays = |name: &str| before.get(name) == after.get(name);
            field.before = in_words(&before, |name| if stays(name) { "value" } else { "old value" });
            field.after = in_words(&after, |name| if stays(name) { "value" } else { "new value" });
        }
    }
    plan
}

fn in_words(environment: &Value, word: impl Fn(&str) -> &'static str) -> Value {
    match environment {
        Value::Object(variables) => {
            let named = |name: &String| (name.clone(), json!(format!("({})", word(name))));
            Value::Object(variables.keys().map(named).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{field, planned};
    use super::*;
    use crate::report::event::Operation;

    #[test]
    fn a_plan_without_fingerprints_tells_which_variables_change() {
        let (before, after) = (
            json!({"A": "sha256:a", "B": "sha256:b"}),
            json!({"A": "sha256:x", "B": "sha256:b"}),
        );
        let mut function = planned(
            "function:orders",
            Operation::Update,
            None,
            vec![field(FIELD, before, after)],
        );
        function.kind = Function::NAME.to_owned();
        let plan = without_fingerprints(&Plan {
            steps: vec![function],
        });
        let field = &plan.steps[0].fields[0];
        assert_eq!(field.before, json!({"A": "(old value)", "B": "(value)"}));
        assert_eq!(field.after, json!({"A": "(new value)", "B": "(value)"}));
    }

    #[test]
    fn a_digest_is_another_one_in_every_plan_and_for_every_value() {
        let (one, other) = (json!({"A": "sha256:a"}), json!({"A": "sha256:b"}));
        let (slow, again) = (Slow::new(1).unwrap(), Slow::new(1).unwrap());
        assert_eq!(slow.digest(&one).unwrap(), slow.digest(&one).unwrap());
        assert_ne!(slow.digest(&one).unwrap(), slow.digest(&other).unwrap());
        assert_ne!(slow.digest(&one).unwrap(), again.digest(&one).unwrap());
    }

    #[test]
    fn many_digests_are_quicker_each_and_none_is_quick() {
        let rounds = |digests| Slow::new(digests).unwrap().rounds;
        assert_eq!(
            [rounds(0), rounds(8), rounds(16), rounds(1000)],
            [600_000, 600_000, 300_000, 50_000]
        );
        for rounds in [1, 600_001] {
            let slow = Slow {
                salt: String::new(),
                rounds,
            };
            assert!(slow.digest(&Value::Null).is_err());
        }
    }
}
