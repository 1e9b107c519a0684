//! What AWS's documents leave open and this program depends on: each a text, what the code assumes, and how to ask AWS.
//!
//! Must not leave anything under a name that does not begin with the run's stack.

use std::fmt::Display;

use anyhow::{Context, Result};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::hour::Hour;
use super::report::{Asked, Verdict};
use super::story::POLICY;
use super::{ask_cognito, ask_gateway, ask_lambda};

pub(super) struct Question {
    pub id: &'static str,
    pub text: &'static str,
    /// Which section of the maintainers' notes on AWS leaves it open.
    pub source: &'static str,
    pub assumes: &'static str,
    /// Whether `cargo test` asks it.
    pub quick: bool,
    /// Whether the answer is the same whoever answers for AWS.
    pub holds_anywhere: bool,
    pub ask: for<'a> fn(&'a Hour) -> LocalBoxFuture<'a, Result<Answer>>,
}

pub(super) struct Answer {
    pub text: String,
    pub seconds: Option<f64>,
    pub verdict: Verdict,
}

/// An answer that agrees with the code if `agrees`.
pub(super) fn answer(text: impl Into<String>, agrees: bool) -> Answer {
    Answer {
        text: text.into(),
        seconds: None,
        verdict: if agrees { Verdict::Agrees } else { Verdict::Differs },
    }
}

impl Question {
    /// An error is an answer that decides nothing.
    pub(super) async fn ask(&self, hour: &Hour) -> Asked {
        let asked = (self.ask)(hour).await;
        let answered = asked.is_ok();
        let answer = asked.unwrap_or_else(|error| Answer {
            text: format!("{error:#}"),
            seconds: None,
            verdict: Verdict::NotDecided,
        });
        Asked {
            id: self.id,
            question: self.text,
            source: self.source,
            assumes: self.assumes,
            answer: hour.recorder.redactor.text(&answer.text),
            answered,
            seconds: answer.seconds,
            verdict: answer.verdict,
            holds_anywhere: self.holds_anywhere,
        }
    }
}

/// An answer that took so long, and agrees with the code if that is no longer than the code waits.
pub(super) fn within(text: String, seconds: f64, most: f64) -> Answer {
    Answer {
        seconds: Some(seconds),
        ..answer(text, seconds <= most)
    }
}

/// The code of a refusal and what AWS says.
pub(super) fn code<E: ProvideErrorMetadata>(error: &E) -> String {
    format!(
        "{} {:?}",
        error.code().unwrap_or("no answer"),
        error.message().unwrap_or_default()
    )
}

/// A value that may be absent.
pub(super) fn shown(value: Option<impl Display>, what: &str) -> String {
    value.map_or(format!("no {what}"), |value| format!("{what} {value}"))
}

pub(super) fn list(values: &[String]) -> String {
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.join(", ")
    }
}

/// What came before the success.
pub(super) fn after_refusals(refused: &[String]) -> String {
    if refused.is_empty() {
        "at once".to_owned()
    } else {
        format!("refused before with {}", refused.join("; "))
    }
}

macro_rules! questions {
    ($($quick:literal $id:literal $source:literal $text:literal => $assumes:literal, $ask:path;)+) => {
        &[$(Question {
            id: $id,
            text: $text,
            source: $source,
            assumes: $assumes,
            quick: $quick,
            holds_anywhere: false,
            ask: |hour| Box::pin($ask(hour)),
        }),+]
    };
}

/// Whether `cargo test` asks it; its id; where it is left open; the question; what the code assumes.
pub(super) const OF_AWS: &[Question] = questions! {
    // The first one makes the pool, the domain and the clients that the others use.
    true "new-domain" "§5e, §15, §16" "How long until the token endpoint of a new domain answers?"
        => "ACTIVE within 3 minutes, an answer within 5", ask_cognito::domain_answers;
    true "new-client" "§7e" "How long until a new client gets a token?" => "30 s", ask_cognito::client_accepted;
    true "secret-described" "§7b, §15, §16" "Which secret does DescribeUserPoolClient answer of two, and after the first was deleted?"
        => "any of two; then the new one or none", ask_cognito::secret_described;
    true "secret-dates" "§7" "Does ListUserPoolClientSecrets tell the older secret?" => "by its date", ask_cognito::secret_dates;
    true "secret-accepted" "§16" "How long until a second secret is accepted?" => "3 minutes", ask_cognito::secret_accepted;
    true "secret-refused" "§16" "How long until a deleted secret is refused?" => "150 s", ask_cognito::secret_refused;
    true "wrong-secret" "§9.1" "What does the token endpoint answer to a wrong secret?" => "invalid_client", ask_cognito::wrong_secret;
    true "other-scope-asked" "§9.1, §16" "What does a client get that asks for a scope it may not have?"
        => "invalid_scope, or a token without it", ask_cognito::foreign_scope;
    true "claims" "§9.2" "Which claims does an access token of client credentials have?"
        => "token_use, client_id; no aud", ask_cognito::claims;
    true "issuer" "§4, §15" "Which issuer does a pool have by default?" => "ORIGINAL, which the stack sets", ask_cognito::issuer;
    true "empty-flows" "§7a, §15" "What does an empty list of ExplicitAuthFlows mean?"
        => "nothing: one flow is sent", ask_cognito::empty_flows;
    true "one-flow" "§7a" "Does a client keep ALLOW_REFRESH_TOKEN_AUTH as its only flow?" => "yes", ask_cognito::kept_flows;
    true "tier-lite" "§4" "Do client credentials work in the tier LITE?" => "yes", ask_cognito::lite_tier;
    true "free-prefix" "§5b" "What does DescribeUserPoolDomain answer for a free prefix?"
        => "a description without a status", ask_cognito::free_prefix;
    true "foreign-prefix" "§16" "What does DescribeUserPoolDomain answer for another account's prefix?"
        => "ResourceNotFoundException, or a description", ask_cognito::foreign_prefix;
    true "prefix-reuse" "§5d, §15" "How long until a prefix can be had again after DeleteUserPoolDomain?"
        => "2 minutes", ask_cognito::prefix_reuse;
    true "same-server" "§0.1, §6a" "What does a second CreateResourceServer of the same identifier answer?"
        => "something of class Taken", ask_cognito::same_server;
    true "scope-lag" "§6e" "How long until a client can name a new scope?" => "20 s", ask_cognito::scope_lag;
    true "pool-tags" "§4c, §15" "Does UpdateUserPool without tags keep the tags?" => "yes", ask_cognito::pool_tags;
    true "lists-cognito" "§4e, §15" "How long until the lists of Cognito have what was made?"
        => "3 s, the pause before the second look", ask_cognito::lists;
    true "new-stage" "§8.6e" "How long until a new stage answers?" => "as long as `verify` waits", ask_gateway::new_stage;
    true "redeployed-stage" "§8.6e, §16" "How long does a stage answer as it was deployed before?"
        => "as long as `verify` waits", ask_gateway::redeployed;
    true "refusals" "§9.4" "What does API Gateway answer whom it does not let in?"
        => "401 Unauthorized, 403 Missing Authentication Token", ask_gateway::refusals;
    true "authorizer-ttl" "§8.2, §16" "How is an authorizer's time to live answered?"
        => "0 as 0; unset as 300 or absent", ask_gateway::authorizer_ttl;
    true "authorizer-cache" "§9.4, §16" "Is the scope checked where the token's answer is cached?"
        => "not known, so 0 is sent", ask_gateway::authorizer_cache;
    false "root-counts" "§16" "Does the root count in the quota of 300 resources, and what is the refusal?"
        => "warned of above 299", ask_gateway::root_counts;
    true "path-characters" "§8.1, §16" "Which of - _ . , : may a part of a path have?" => "all", ask_gateway::path_characters;
    true "delete-rate" "§8d, §16" "What does a second DeleteRestApi within 30 s answer?"
        => "a throttle, with or without Retry-After", ask_gateway::delete_rate;
    true "lists-gateway" "§8b, §15" "How long until the lists of API Gateway have what was made?"
        => "3 s, the pause before the second look", ask_gateway::lists;
    true "new-role" "§3e" "How long until CreateFunction takes a new role, and what is said before?"
        => "10 minutes, in class NotReady", ask_lambda::new_role;
    true "role-read" "§1b" "How long until GetRole has a new role with its ARN and its tags?"
        => "2 minutes", ask_lambda::role_read;
    true "pending" "§3e, §15, §16" "Are AddPermission and GetFunction accepted right after CreateFunction?"
        => "yes, or within 2 minutes", ask_lambda::pending;
    true "same-function" "§3a" "What does a second CreateFunction of the same name answer?"
        => "something of class Taken", ask_lambda::same_function;
    true "new-permission" "§3b" "How long until API Gateway may invoke a function?" => "1 minute", ask_lambda::new_permission;
    true "function-gone" "§3d" "How long until a deleted function is not found?" => "10 minutes", ask_lambda::function_gone;
    false "role-again" "§16" "Does a function with variables run after its role was made again?"
        => "no: `up` replaces the function", ask_lambda::role_again;
    true "hidden-tags" "§16" "What does GetFunction answer without the right lambda:ListTags?"
        => "no tags, and an error beside", ask_lambda::hidden_tags;
    true "policy-flaps" "§16" "How long is a new right of a role denied, and does it flap?"
        => "60 s", ask_lambda::policy_flaps;
    true "lists-logs" "§2e" "How long until DescribeLogGroups has a new group?" => "3 s", ask_lambda::log_group;
};

/// What this program alone answers.
pub(super) const OF_ITSELF: &[Question] = &[Question {
    id: "policy-size",
    text: "Does the printed policy fit into an inline policy of a role?",
    source: "§1",
    assumes: "10,240 characters without blanks",
    quick: true,
    holds_anywhere: true,
    ask: |hour| Box::pin(async { policy_size(hour) }),
}];

fn policy_size(hour: &Hour) -> Result<Answer> {
    hour.configure(&[])?;
    let policy: Value = hour.json(&POLICY)?;
    let length = policy.to_string().len();
    let statements = policy["Statement"]
        .as_array()
        .context("a policy has statements")?
        .len();
    Ok(answer(
        format!("{length} characters in {statements} statements"),
        length <= 10_240,
    ))
}
