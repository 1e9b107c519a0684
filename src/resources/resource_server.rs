//! A resource server of a user pool: an identifier and the custom scopes under it.
//!
//! Must not say who may ask for those scopes.

use std::collections::BTreeMap;

use anyhow::Context;
use aws_sdk_cognitoidentityprovider::types::{ResourceServerScopeType, ResourceServerType};
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, PoolId};
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Kind, NoOutput, Resource, Result, Stranger, Updated};

/// AWS's limit of scopes of a resource server.
const MOST_SCOPES: usize = 100;

/// A resource server. Identifiers are unique in the pool. The pool being ours makes it ours; in a shared pool its mark does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceServer {
    /// The pool's id.
    pub pool: PoolId,
    /// The first half of a full scope: `<identifier>/<scope>`.
    pub identifier: String,
    /// For people; with the mark at most 256 characters.
    pub name: String,
    /// What the name in Cognito ends with, in a pool of others: the stack and its owner. Empty in the stack's own pool.
    pub mark: String,
    /// Scope name to description; at most 100.
    pub scopes: BTreeMap<String, String>,
}

fn sdk_scopes(scopes: &BTreeMap<String, String>) -> Result<Vec<ResourceServerScopeType>> {
    let scopes = scopes.iter().map(|(name, description)| {
        Ok(ResourceServerScopeType::builder()
            .scope_name(name)
            .scope_description(description)
            .build()?)
    });
    scopes.collect()
}

impl ResourceServer {
    /// The name in Cognito.
    fn full_name(&self) -> String {
        format!("{}{}", self.name, self.mark)
    }

    /// The name without the mark.
    fn own_name<'a>(&self, live: &'a ResourceServerType) -> Result<&'a str, Stranger> {
        let name = live.name().unwrap_or_default();
        name.strip_suffix(&self.mark).ok_or_else(|| Stranger {
            what: format!(
                "resource server {} of user pool {}, called {name:?},",
                self.identifier, self.pool
            ),
        })
    }

    async fn describe(&self, cx: &Cx<Aws>) -> Result<Option<ResourceServerType>> {
        let describe = || {
            cx.cloud()
                .cognito
                .describe_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .send()
        };
        let answer = unless_gone(cx.call("cognito-idp:DescribeResourceServer", describe).await)?;
        answer
            .map(|answer| {
                answer
                    .resource_server
                    .context("cognito-idp:DescribeResourceServer answered no resource server")
            })
            .transpose()
    }

    /// Sets exactly these scopes: Cognito replaces the whole list.
    async fn replace(&self, cx: &Cx<Aws>, scopes: &BTreeMap<String, String>) -> Result<()> {
        let scopes = sdk_scopes(scopes)?;
        let update = || {
            cx.cloud()
                .cognito
                .update_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .name(self.full_name())
                .set_scopes(Some(scopes.clone()))
                .send()
        };
        cx.call("cognito-idp:UpdateResourceServer", update).await?;
        Ok(())
    }
}

impl Resource for ResourceServer {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.pool", ids::POOL),
            ("desired.identifier", ids::IDENTIFIER),
        ],
        fixed: &["pool", "identifier"],
        dies_with: Some("user-pool"),
        ..Kind::new("resource-server")
    };

    fn id(&self, _: &NoOutput) -> String {
        self.identifier.clone()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        Ok(self.read(cx, &NoOutput {}).await?.map(|_| NoOutput {}))
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<NoOutput> {
        let scopes = sdk_scopes(&self.scopes)?;
        let create = || {
            cx.cloud()
                .cognito
                .create_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .name(self.full_name())
                .set_scopes(Some(scopes.clone()))
                .send()
        };
        cx.call("cognito-idp:CreateResourceServer", create).await?;
        Ok(NoOutput {})
    }

    async fn read(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        // A shared pool may have hundreds of others.
        let surveyed = match self.mark.as_str() {
            "" => cx.surveyed_server(&self.pool, &self.identifier).await,
            _ => None,
        };
        let live = match surveyed {
            Some(surveyed) => surveyed?,
            None => self.describe(cx).await?,
        };
        let Some(server) = live else {
            return Ok(None);
        };
        Ok(Some(Self {
            pool: self.pool.clone(),
            identifier: self.identifier.clone(),
            name: self.own_name(&server)?.to_owned(),
            mark: self.mark.clone(),
            scopes: server
                .scopes()
                .iter()
                .map(|scope| {
                    (
                        scope.scope_name().to_owned(),
                        scope.scope_description().to_owned(),
                    )
                })
                .collect(),
        }))
    }

    /// Adds scopes, and keeps those that are removed, so that no client or method ever uses a scope that does not
    /// exist. `retire` removes them once nothing uses them. Up to AWS's limit, as many are kept as there is room for.
    async fn update(&self, cx: &Cx<Aws>, before: &Self, out: NoOutput) -> Result<Updated<NoOutput>> {
        let going = before
            .scopes
            .iter()
            .filter(|(scope, _)| !self.scopes.contains_key(*scope));
        let mut scopes = self.scopes.clone();
        let room = MOST_SCOPES.saturating_sub(scopes.len());
        scopes.extend(
            going
                .take(room)
                .map(|(scope, description)| (scope.clone(), description.clone())),
        );
        if self.name != before.name || scopes != before.scopes {
            self.replace(cx, &scopes).await?;
        }
        Ok(Updated {
            output: out,
            retires: before.scopes.keys().any(|scope| !self.scopes.contains_key(scope)),
        })
    }

    async fn retire(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        self.replace(cx, &self.scopes).await
    }

    async fn check_owner(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        if self.mark.is_empty() {
            return Ok(());
        }
        let live = self.describe(cx).await?;
        live.map_or(Ok(()), |live| Ok(self.own_name(&live).map(drop)?))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let delete = || {
            cx.cloud()
                .cognito
                .delete_resource_server()
                .user_pool_id(&self.pool)
                .identifier(&self.identifier)
                .send()
        };
        unless_gone(cx.call("cognito-idp:DeleteResourceServer", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cognitoidentityprovider::Client as Sdk;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::test_support::{cognito, cognito_wire, differing, failed, ok, on, refused};
    use crate::resource::Class;

    fn desired() -> ResourceServer {
        ResourceServer {
            pool: "eu-central-1_ours".into(),
            identifier: "user-api".to_owned(),
            name: "User API".to_owned(),
            mark: String::new(),
            scopes: BTreeMap::from([
                ("read".to_owned(), "Read users".to_owned()),
                ("write".to_owned(), "Write users".to_owned()),
            ]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let gone = || {
            refused(
                400,
                "ResourceNotFoundException",
                "Resource server does not exist.",
            )
        };
        let cx = cognito([
            on!(Sdk::describe_resource_server, gone()),
            on!(Sdk::describe_resource_server, gone()),
            on!(
                Sdk::delete_resource_server,
                |i| {
                    assert_eq!(
                        (i.user_pool_id(), i.identifier()),
                        (Some("eu-central-1_ours"), Some("user-api"))
                    );
                },
                gone()
            ),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), None);
        desired().delete(&cx, &NoOutput {}).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_and_the_order_of_its_scopes_is_no_drift() {
        let live = json!({"ResourceServer": {
            "UserPoolId": "eu-central-1_ours", "Identifier": "user-api", "Name": "User API",
            "Scopes": [
                {"ScopeName": "write", "ScopeDescription": "Write users"},
                {"ScopeName": "read", "ScopeDescription": "Read users"},
            ],
        }});
        let again = live.clone();
        let cx = cognito([
            on!(Sdk::describe_resource_server, ok(live.clone())),
            on!(Sdk::describe_resource_server, ok(again.clone())),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_some());
        assert_eq!(desired().read(&cx, &NoOutput {}).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_with_its_scopes() {
        let cx = cognito([on!(
            Sdk::create_resource_server,
            |i| {
                assert_eq!(i.identifier(), Some("user-api"));
                let scopes: Vec<_> = i
                    .scopes()
                    .iter()
                    .map(|s| (s.scope_name(), s.scope_description()))
                    .collect();
                assert_eq!(scopes, [("read", "Read users"), ("write", "Write users")]);
            },
            ok(json!({"ResourceServer": {}}))
        )]);
        desired().create(&cx).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_the_same_identifier_is_told_as_taken() {
        let cx = cognito([on!(
            Sdk::create_resource_server,
            refused(
                400,
                "InvalidParameterException",
                "user-api already exists in user pool"
            )
        )]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn each_foreign_edit_is_told_as_the_field_it_is_in() {
        let scopes = json!([
            {"ScopeName": "write", "ScopeDescription": "Write users"},
            {"ScopeName": "read", "ScopeDescription": "Read users"},
        ]);
        for (field, at, edit) in [
            ("name", "/Name", json!("theirs")),
            ("scopes", "/Scopes/0/ScopeDescription", json!("theirs")),
            ("scopes", "/Scopes/0/ScopeName", json!("theirs")),
            ("scopes", "/Scopes", json!([])),
        ] {
            let mut live = json!({"Identifier": "user-api", "Name": "User API", "Scopes": scopes});
            *live.pointer_mut(at).unwrap() = edit;
            let (cx, _) = cognito_wire([ok(json!({"ResourceServer": live}))]);
            let live = desired().read(&cx, &NoOutput {}).await.unwrap().unwrap();
            assert_eq!(differing(&desired(), &live), [field]);
        }
    }

    const MARK: &str = " stack=orders owner=1a2b3c4d";

    fn marked() -> ResourceServer {
        ResourceServer {
            mark: MARK.to_owned(),
            ..desired()
        }
    }

    fn called(name: &str) -> HttpResponse {
        let scopes = json!([
            {"ScopeName": "read", "ScopeDescription": "Read users"},
            {"ScopeName": "write", "ScopeDescription": "Write users"},
        ]);
        ok(json!({"ResourceServer": {"Identifier": "user-api", "Name": name, "Scopes": scopes}}))
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_pool_of_others_its_name_has_the_mark_and_one_without_it_is_somebody_elses() {
        let full = format!("User API{MARK}");
        let (cx, wire) = cognito_wire([called(&full), called(&full), called(&full), called(&full)]);
        marked().create(&cx).await.unwrap();
        marked().retire(&cx, &NoOutput {}).await.unwrap();
        assert_eq!(marked().read(&cx, &NoOutput {}).await.unwrap(), Some(marked()));
        marked().check_owner(&cx, &NoOutput {}).await.unwrap();
        for (_, request) in &wire.sent()[..2] {
            assert_eq!(request["Name"], full);
        }
        for name in ["User API", "User API stack=orders owner=00000000"] {
            let (cx, wire) = cognito_wire([called(name), called(name), called(name)]);
            for error in [
                marked().find(&cx).await.unwrap_err(),
                marked().read(&cx, &NoOutput {}).await.unwrap_err(),
                marked().check_owner(&cx, &NoOutput {}).await.unwrap_err(),
            ] {
                assert!(crate::resource::is_stranger(&error), "{error:#}");
                assert!(
                    error
                        .to_string()
                        .contains("resource server user-api of user pool"),
                    "{error:#}"
                );
            }
            let sent: Vec<String> = wire.sent().into_iter().map(|(operation, _)| operation).collect();
            assert_eq!(sent, ["DescribeResourceServer"; 3]);
        }
    }

    fn server(scopes: &[(&str, &str)]) -> ResourceServer {
        let scopes = scopes
            .iter()
            .map(|&(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        ResourceServer { scopes, ..desired() }
    }

    fn updated(name: &str, scopes: &[(&str, &str)]) -> (String, Value) {
        let scopes: Vec<_> = scopes
            .iter()
            .map(|(name, text)| json!({"ScopeName": name, "ScopeDescription": text}))
            .collect();
        let request = json!({"UserPoolId": "eu-central-1_ours", "Identifier": "user-api", "Name": name, "Scopes": scopes});
        ("UpdateResourceServer".to_owned(), request)
    }

    fn done() -> HttpResponse {
        ok(json!({"ResourceServer": {}}))
    }

    #[tokio::test(start_paused = true)]
    async fn added_scopes_are_added_at_once_and_nothing_is_left_to_do() {
        let (cx, wire) = cognito_wire([done()]);
        let now = server(&[("read", "r"), ("write", "w")]);
        let after = now.update(&cx, &server(&[("read", "r")]), NoOutput {}).await;
        assert_eq!(
            wire.sent(),
            [updated("User API", &[("read", "r"), ("write", "w")])]
        );
        assert!(!after.unwrap().retires);
    }

    #[tokio::test(start_paused = true)]
    async fn removed_scopes_stay_until_they_are_retired() {
        let (cx, wire) = cognito_wire([done()]);
        let (now, before) = (server(&[("read", "r")]), server(&[("read", "r"), ("write", "w")]));
        let after = now.update(&cx, &before, NoOutput {}).await.unwrap();
        assert!(after.retires);
        now.retire(&cx, &NoOutput {}).await.unwrap();
        assert_eq!(wire.sent(), [updated("User API", &[("read", "r")])]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renamed_scope_is_there_under_both_names_until_the_old_one_is_retired() {
        let (cx, wire) = cognito_wire([done(), done()]);
        let (now, before) = (
            server(&[("new", "n"), ("read", "now")]),
            server(&[("old", "o"), ("read", "before")]),
        );
        let after = now.update(&cx, &before, NoOutput {}).await.unwrap();
        assert!(after.retires);
        now.retire(&cx, &NoOutput {}).await.unwrap();
        let union = updated("User API", &[("new", "n"), ("old", "o"), ("read", "now")]);
        assert_eq!(
            wire.sent(),
            [union, updated("User API", &[("new", "n"), ("read", "now")])]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_scopes_are_kept_than_aws_allows() {
        let many = |word: &str| ResourceServer {
            scopes: (0..60)
                .map(|n| (format!("{word}{n}"), String::from("-")))
                .collect(),
            ..desired()
        };
        let (cx, wire) = cognito_wire([done()]);
        many("new").update(&cx, &many("old"), NoOutput {}).await.unwrap();
        let sent = wire.sent()[0].1["Scopes"].as_array().unwrap().clone();
        let new = sent
            .iter()
            .filter(|scope| scope["ScopeName"].as_str().unwrap().starts_with("new"));
        assert_eq!((sent.len(), new.count()), (100, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_or_a_description_is_changed_alone() {
        let (cx, wire) = cognito_wire([done(), done()]);
        let before = server(&[("read", "r"), ("write", "w")]);
        let renamed = ResourceServer {
            name: "Users".to_owned(),
            ..before.clone()
        };
        let after = renamed.update(&cx, &before, NoOutput {}).await.unwrap();
        assert!(!after.retires);
        let described = server(&[("read", "now"), ("write", "w")]);
        let after = described.update(&cx, &before, NoOutput {}).await.unwrap();
        assert!(!after.retires);
        let renamed = updated("Users", &[("read", "r"), ("write", "w")]);
        assert_eq!(
            wire.sent(),
            [renamed, updated("User API", &[("read", "now"), ("write", "w")])]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_differs_there_is_no_call() {
        let (cx, wire) = cognito_wire([]);
        let after = desired().update(&cx, &desired(), NoOutput {}).await.unwrap();
        assert!(!after.retires);
        assert_eq!(wire.sent(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_update_and_one_of_what_is_gone_are_errors_that_say_so() {
        for (code, expected) in [
            ("InvalidParameterException", Class::Refused),
            ("ResourceNotFoundException", Class::Gone),
        ] {
            let (cx, _) = cognito_wire([refused(400, code, "the reason"), refused(400, code, "the reason")]);
            for error in [
                failed(desired().update(&cx, &server(&[]), NoOutput {}).await),
                failed(desired().retire(&cx, &NoOutput {}).await),
            ] {
                assert_eq!(error.0, Some(expected));
                assert!(error.1.contains("the reason"), "{}", error.1);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_update_is_repeated() {
        let throttled = refused(400, "TooManyRequestsException", "Rate exceeded");
        let (cx, wire) = cognito_wire([throttled, done()]);
        desired().update(&cx, &server(&[]), NoOutput {}).await.unwrap();
        assert_eq!(wire.sent().len(), 2);
        assert_eq!(
            cx.waits(),
            [
                "cognito-idp:UpdateResourceServer to be accepted (TooManyRequestsException: Rate exceeded; whatever uses this \
                 account's user pools shares the rate)"
            ]
        );
    }
}
