//! Reads that many resources share, such as the paths and methods of a REST API, and what others have put into our
//! resources.
//!
//! Must not be used after the survey: it does not see later changes.

use std::collections::BTreeSet;
use std::rc::Rc;

use aws_sdk_apigateway::operation::get_authorizer::GetAuthorizerOutput;
use aws_sdk_apigateway::operation::get_stage::GetStageOutput;
use aws_sdk_apigateway::types::{Authorizer, Resource as Path, Stage};
use aws_sdk_cognitoidentityprovider::operation::describe_user_pool::DescribeUserPoolOutput;
use aws_sdk_cognitoidentityprovider::types::{ResourceServerType, UserPoolType};
use aws_sdk_iam::operation::get_role::GetRoleOutput;
use serde_json::Value;

use super::clients::Aws;
use super::domains::mappings;
use super::ids::{ApiId, AuthorizerId, PathId, PoolId};
use super::pages::Pages;
use super::shared::{Paths, Shared, Survey};
use super::wait::unless_gone;
use crate::foreign::{Item, Kind, is_open, method_finding};
use crate::resource::{CallError, Cx, Result};

impl Aws {
    /// The same clients for one survey: what several resources are read from is read once.
    #[must_use]
    pub fn for_a_survey(&self) -> Self {
        Self {
            partition: self.partition.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            apigateway: self.apigateway.clone(),
            cognito: self.cognito.clone(),
            ec2: self.ec2.clone(),
            iam: self.iam.clone(),
            lambda: self.lambda.clone(),
            logs: self.logs.clone(),
            secretsmanager: self.secretsmanager.clone(),
            ssm: self.ssm.clone(),
            sts: self.sts.clone(),
            paces: self.paces.clone(),
            new_secrets: self.new_secrets.clone(),
            detached: self.detached.clone(),
            truststore_warnings: self.truststore_warnings.clone(),
            no_wait: self.no_wait.clone(),
            survey: Some(Survey::default()),
            wafv2: self.wafv2.clone(),
            waits: self.waits.clone(),
        }
    }
}

impl Cx<Aws> {
    /// Reads it; in a survey only once.
    async fn shared<T>(
        &self,
        of: fn(&Survey) -> &Shared<T>,
        key: &str,
        read: impl Future<Output = Result<T, CallError>>,
    ) -> Result<Rc<T>, CallError> {
        let Some(survey) = &self.cloud().survey else {
            return read.await.map(Rc::new);
        };
        of(survey).get(key, read).await
    }

    /// A path of a REST API with its methods and integrations, from the one read that the survey makes; `None` outside of
    /// a survey.
    pub async fn surveyed_path(&self, api: &ApiId, path: &PathId) -> Option<Result<Option<Path>, CallError>> {
        self.cloud().survey.as_ref()?;
        Some(
            self.paths(api.as_str())
                .await
                .map(|paths| paths.get(path.as_str()).cloned()),
        )
    }

    /// An authorizer of a REST API, from the one read that the survey makes; `None` outside of a survey.
    pub async fn surveyed_authorizer(
        &self,
        api: &ApiId,
        id: &AuthorizerId,
    ) -> Option<Result<Option<GetAuthorizerOutput>, CallError>> {
        self.cloud().survey.as_ref()?;
        let read = self.authorizers(api.as_str()).await;
        Some(read.map(|all| {
            let one = all
                .iter()
                .find(|authorizer| authorizer.id() == Some(id.as_str()))?
                .clone();
            let got = GetAuthorizerOutput::builder()
                .set_id(one.id)
                .set_name(one.name)
                .set_type(one.r#type)
                .set_provider_arns(one.provider_arns)
                .set_auth_type(one.auth_type)
                .set_authorizer_uri(one.authorizer_uri)
                .set_authorizer_credentials(one.authorizer_credentials)
                .set_identity_source(one.identity_source)
                .set_identity_validation_expression(one.identity_validation_expression)
                .set_authorizer_result_ttl_in_seconds(one.authorizer_result_ttl_in_seconds);
            Some(got.build())
        }))
    }

    /// A stage of a REST API, from the one read that the survey makes; `None` outside of a survey.
    pub async fn surveyed_stage(
        &self,
        api: &ApiId,
        name: &str,
    ) -> Option<Result<Option<GetStageOutput>, CallError>> {
        self.cloud().survey.as_ref()?;
        let read = self.stages(api.as_str()).await;
        Some(read.map(|all| {
            let one = all.iter().find(|stage| stage.stage_name() == Some(name))?.clone();
            let got = GetStageOutput::builder()
                .set_stage_name(one.stage_name)
                .set_deployment_id(one.deployment_id)
                .set_canary_settings(one.canary_settings)
                .set_method_settings(one.method_settings)
                .set_access_log_settings(one.access_log_settings)
                .set_tracing_enabled(Some(one.tracing_enabled))
                .set_web_acl_arn(one.web_acl_arn)
                .set_variables(one.variables)
                .set_tags(one.tags);
            Some(got.build())
        }))
    }

    /// A resource server of a user pool, from the one read that the survey makes; `None` outside of a survey.
    pub async fn surveyed_server(
        &self,
        pool: &PoolId,
        identifier: &str,
    ) -> Option<Result<Option<ResourceServerType>, CallError>> {
        self.cloud().survey.as_ref()?;
        let read = self.resource_servers(pool.as_str()).await;
        Some(read.map(|all| (all.iter().find(|server| server.identifier() == Some(identifier))).cloned()))
    }

    /// A user pool; in a survey it is read once.
    ///
    /// # Errors
    /// The call failed.
    pub async fn user_pool(&self, id: &str) -> Result<Rc<Option<DescribeUserPoolOutput>>, CallError> {
        self.shared(|survey| &survey.pools, id, read_pool(self, id)).await
    }

    /// A function's policy; `None` if it has none. In a survey it is read once.
    ///
    /// # Errors
    /// The call failed.
    pub async fn function_policy(&self, name: &str) -> Result<Rc<Option<String>>, CallError> {
        self.shared(|survey| &survey.policies, name, read_policy(self, name))
            .await
    }

    /// A role; `None` if there is none. In a survey it is read once, for itself and for the function that runs as it.
    ///
    /// # Errors
    /// The call failed.
    pub async fn role(&self, name: &str) -> Result<Rc<Option<GetRoleOutput>>, CallError> {
        self.shared(|survey| &survey.roles, name, read_role(self, name))
            .await
    }

    /// The ARNs of the managed policies that are attached to a role; none if there is no such role. In a survey they are read
    /// once.
    ///
    /// # Errors
    /// The call failed.
    pub async fn attached_policies(&self, role: &str) -> Result<Rc<Vec<String>>, CallError> {
        self.shared(|survey| &survey.attached, role, read_attached(self, role))
            .await
    }

    async fn paths(&self, api: &str) -> Result<Rc<Paths>, CallError> {
        self.shared(|survey| &survey.paths, api, read_paths(self, api))
            .await
    }

    async fn authorizers(&self, api: &str) -> Result<Rc<Vec<Authorizer>>, CallError> {
        self.shared(|survey| &survey.authorizers, api, read_authorizers(self, api))
            .await
    }

    async fn stages(&self, api: &str) -> Result<Rc<Vec<Stage>>, CallError> {
        self.shared(|survey| &survey.stages, api, read_stages(self, api))
            .await
    }

    /// The resource servers of a user pool; none if there is no such pool. In a survey they are read once.
    ///
    /// # Errors
    /// The call failed.
    pub async fn resource_servers(&self, pool: &str) -> Result<Rc<Vec<ResourceServerType>>, CallError> {
        self.shared(|survey| &survey.servers, pool, read_servers(self, pool))
            .await
    }

    /// The paths and methods of a REST API; its root is the API's own. `authorizers` are ours.
    ///
    /// # Errors
    /// The call failed; so for all that follow.
    pub async fn methods_in(
        &self,
        api: &str,
        authorizers: &BTreeSet<String>,
    ) -> Result<Vec<Item>, CallError> {
        let paths = self.paths(api).await?;
        let mut items = Vec::new();
        for path in paths.values() {
            let (id, name) = (path.id().unwrap_or_default(), path.path().unwrap_or_default());
            let above = lineage(&paths, path);
            if path.parent_id().is_some() {
                items.push(Item {
                    alias: place(path),
                    paths: above.clone(),
                    ..Item::new(Kind::Path, id, name)
                });
            }
            for (verb, method) in path.resource_methods().into_iter().flatten() {
                let finding =
                    method_finding(method.authorization_type(), method.authorizer_id(), authorizers);
                items.push(Item {
                    paths: above.clone(),
                    finding,
                    ..Item::new(Kind::Method, &format!("{id}/{verb}"), &format!("{verb} {name}"))
                });
            }
        }
        items.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        Ok(items)
    }

    /// The stages of a REST API.
    pub async fn stages_in(&self, api: &str) -> Result<Vec<Item>, CallError> {
        let all = self.stages(api).await?;
        let names = all.iter().filter_map(Stage::stage_name);
        Ok(names.map(|name| Item::new(Kind::Stage, name, name)).collect())
    }

    /// When a stage was last changed, in seconds since 1970 by AWS's clock; `None` if it was not changed since it was
    /// created.
    ///
    /// # Errors
    /// The call failed.
    pub async fn stage_changed(&self, api: &str, name: &str) -> Result<Option<i64>, CallError> {
        let all = self.stages(api).await?;
        let stage = all.iter().find(|stage| stage.stage_name() == Some(name));
        let changed = |stage: &Stage| {
            let changed = stage.last_updated_date()?.secs();
            (changed > stage.created_date()?.secs()).then_some(changed)
        };
        Ok(stage.and_then(changed))
    }

    /// The authorizers of a REST API, and the pools whose tokens ours (`ours`) accept.
    pub async fn authorizers_in(&self, api: &str, ours: &BTreeSet<String>) -> Result<Vec<Item>, CallError> {
        let mut items = Vec::new();
        for one in self.authorizers(api).await?.iter() {
            let (id, name) = (one.id().unwrap_or_default(), one.name().unwrap_or_default());
            items.push(Item {
                alias: name.to_owned(),
                ..Item::new(Kind::Authorizer, id, name)
            });
            if ours.contains(id) {
                let pools = one.provider_arns().iter();
                let finding = "the stack's authorizer takes its tokens";
                items.extend(pools.map(|arn| Item::new(Kind::Pool, arn, arn).breaking(finding)));
            }
        }
        Ok(items)
    }

    /// The users of a user pool, if there are any.
    pub async fn users_in(&self, pool: &str) -> Result<Vec<Item>, CallError> {
        let live = self.user_pool(pool).await?;
        let pool_type = live.as_ref().as_ref().and_then(DescribeUserPoolOutput::user_pool);
        let number = pool_type.map_or(0, UserPoolType::estimated_number_of_users);
        let users = (number > 0).then(|| Item::new(Kind::Users, pool, &format!("about {number}")));
        Ok(users.into_iter().collect())
    }

    /// The clients of a user pool.
    pub async fn clients_in(&self, pool: &str) -> Result<Vec<Item>, CallError> {
        let cx = self;
        let mut items = Vec::new();
        let mut pages = Pages::of("cognito-idp:ListUserPoolClients");
        loop {
            let list = || {
                cx.cloud()
                    .cognito
                    .list_user_pool_clients()
                    .user_pool_id(pool)
                    .max_results(60)
                    .set_next_token(pages.token())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("cognito-idp:ListUserPoolClients", list).await)? else {
                return Ok(items);
            };
            for client in page.user_pool_clients() {
                let name = client.client_name().unwrap_or_default();
                items.push(Item {
                    alias: name.to_owned(),
                    ..Item::new(Kind::Client, client.client_id().unwrap_or_default(), name)
                });
            }
            if !pages.turn(page.next_token)? {
                return Ok(items);
            }
        }
    }

    /// The resource servers of a user pool.
    pub async fn servers_in(&self, pool: &str) -> Result<Vec<Item>, CallError> {
        let all = self.resource_servers(pool).await?;
        let names = all.iter().filter_map(ResourceServerType::identifier);
        Ok(names
            .map(|name| Item::new(Kind::ResourceServer, name, name))
            .collect())
    }

    /// The statements of a function's policy. A policy that cannot be parsed has none: reading our own statement then
    /// fails and reports it.
    pub async fn statements_in(&self, function: &str) -> Result<Vec<Item>, CallError> {
        let policy = self.function_policy(function).await?;
        let policy = policy.as_ref().as_deref().unwrap_or_default();
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let statements = policy["Statement"].as_array().into_iter().flatten();
        let items = statements.map(|statement| {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            let item = Item::new(Kind::Statement, sid, sid);
            if is_open(statement) {
                item.breaking("it lets anyone invoke the function")
            } else {
                item
            }
        });
        Ok(items.collect())
    }

    /// The mappings of a domain. An item's id is its path, which is empty at the root.
    pub async fn mappings_in(&self, domain: &str) -> Result<Vec<Item>> {
        let all = mappings(self, domain).await?;
        let items = all
            .iter()
            .map(|one| Item::new(Kind::Mapping, &one.base_path, &one.to_string()));
        Ok(items.collect())
    }

    /// The policies of a role: its inline policies and those attached to it.
    pub async fn policies_in(&self, role: &str) -> Result<Vec<Item>, CallError> {
        let (own, attached) = tokio::try_join!(read_own(self, role), self.attached_policies(role))?;
        let own = own
            .into_iter()
            .map(|name| Item::new(Kind::InlinePolicy, &name, &name));
        let attached = attached
            .iter()
            .map(|arn| Item::new(Kind::ManagedPolicy, arn, arn));
        let finding = "the function can do more than this stack grants, and IAM does not delete the role";
        Ok(own.chain(attached).map(|item| item.breaking(finding)).collect())
    }
}

async fn read_own(cx: &Cx<Aws>, role: &str) -> Result<Vec<String>, CallError> {
    let iam = &cx.cloud().iam;
    let mut names = Vec::new();
    let mut pages = Pages::of("iam:ListRolePolicies");
    loop {
        let list = || {
            iam.list_role_policies()
                .role_name(role)
                .set_marker(pages.token())
                .send()
        };
        let Some(page) = unless_gone(cx.call("iam:ListRolePolicies", list).await)? else {
            return Ok(names);
        };
        names.extend(page.policy_names);
        if !pages.turn(page.marker)? {
            return Ok(names);
        }
    }
}

async fn read_attached(cx: &Cx<Aws>, role: &str) -> Result<Vec<String>, CallError> {
    let iam = &cx.cloud().iam;
    let mut arns = Vec::new();
    let mut pages = Pages::of("iam:ListAttachedRolePolicies");
    loop {
        let list = || {
            iam.list_attached_role_policies()
                .role_name(role)
                .set_marker(pages.token())
                .send()
        };
        let Some(page) = unless_gone(cx.call("iam:ListAttachedRolePolicies", list).await)? else {
            return Ok(arns);
        };
        let policies = page.attached_policies.into_iter().flatten();
        arns.extend(policies.filter_map(|policy| policy.policy_arn));
        if !pages.turn(page.marker)? {
            return Ok(arns);
        }
    }
}

/// The ids of a path and of all above it, and the place of each.
fn lineage(paths: &Paths, path: &Path) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut next = Some(path);
    while let Some(path) = next {
        let id = path.id().unwrap_or_default();
        // A server that returns a circle must not keep this running.
        if all.iter().any(|known| known == id) {
            break;
        }
        all.push(id.to_owned());
        all.extend(path.parent_id().map(|_| place(path)));
        next = path.parent_id().and_then(|parent| paths.get(parent));
    }
    all
}

/// Identifies a path that may not have an id yet: its parent's id and its part.
fn place(path: &Path) -> String {
    format!(
        "{}/{}",
        path.parent_id().unwrap_or_default(),
        path.path_part().unwrap_or_default()
    )
}

async fn read_paths(cx: &Cx<Aws>, api: &str) -> Result<Paths, CallError> {
    let mut paths = Paths::new();
    let mut pages = Pages::of("apigateway:GetResources");
    loop {
        let list = || {
            cx.cloud()
                .apigateway
                .get_resources()
                .rest_api_id(api)
                .embed("methods")
                // The most that one page holds.
                .limit(500)
                .set_position(pages.token())
                .send()
        };
        let Some(page) = unless_gone(cx.call("apigateway:GetResources", list).await)? else {
            return Ok(paths);
        };
        let items = page.items.unwrap_or_default();
        paths.extend(
            items
                .into_iter()
                .filter_map(|path| Some((path.id.clone()?, path))),
        );
        if !pages.turn(page.position)? {
            return Ok(paths);
        }
    }
}

async fn read_authorizers(cx: &Cx<Aws>, api: &str) -> Result<Vec<Authorizer>, CallError> {
    // An API has at most 10 authorizers, a page 500.
    let list = || {
        cx.cloud()
            .apigateway
            .get_authorizers()
            .rest_api_id(api)
            .limit(500)
            .send()
    };
    let page = unless_gone(cx.call("apigateway:GetAuthorizers", list).await)?;
    Ok(page.and_then(|page| page.items).unwrap_or_default())
}

async fn read_stages(cx: &Cx<Aws>, api: &str) -> Result<Vec<Stage>, CallError> {
    let list = || cx.cloud().apigateway.get_stages().rest_api_id(api).send();
    let page = unless_gone(cx.call("apigateway:GetStages", list).await)?;
    Ok(page.and_then(|page| page.item).unwrap_or_default())
}

async fn read_pool(cx: &Cx<Aws>, id: &str) -> Result<Option<DescribeUserPoolOutput>, CallError> {
    let describe = || cx.cloud().cognito.describe_user_pool().user_pool_id(id).send();
    unless_gone(cx.call("cognito-idp:DescribeUserPool", describe).await)
}

async fn read_role(cx: &Cx<Aws>, name: &str) -> Result<Option<GetRoleOutput>, CallError> {
    let get = || cx.cloud().iam.get_role().role_name(name).send();
    unless_gone(cx.call("iam:GetRole", get).await)
}

async fn read_servers(cx: &Cx<Aws>, pool: &str) -> Result<Vec<ResourceServerType>, CallError> {
    let mut servers = Vec::new();
    let mut pages = Pages::of("cognito-idp:ListResourceServers");
    loop {
        let list = || {
            cx.cloud()
                .cognito
                .list_resource_servers()
                .user_pool_id(pool)
                // The most that one page holds.
                .max_results(50)
                .set_next_token(pages.token())
                .send()
        };
        let Some(page) = unless_gone(cx.call("cognito-idp:ListResourceServers", list).await)? else {
            return Ok(servers);
        };
        servers.extend(page.resource_servers);
        if !pages.turn(page.next_token)? {
            return Ok(servers);
        }
    }
}

async fn read_policy(cx: &Cx<Aws>, function: &str) -> Result<Option<String>, CallError> {
    let get = || cx.cloud().lambda.get_policy().function_name(function).send();
    let answer = unless_gone(cx.call("lambda:GetPolicy", get).await)?;
    Ok(answer.and_then(|answer| answer.policy))
}

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Apigateway;
    use aws_sdk_cognitoidentityprovider::Client as Cognito;
    use aws_sdk_iam::Client as Iam;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{World, apigateway, cognito, iam, iam_ok, iam_refused, ok, on, refused};

    fn survey(world: &World) -> Cx<Aws> {
        Cx::new(Rc::new(world.cloud().for_a_survey()), Rc::new(|_| ()))
    }

    fn ids(items: &[Item]) -> Vec<(Kind, &str)> {
        items.iter().map(|item| (item.kind, item.id.as_str())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn methods_are_listed_with_all_paths_above_them_and_those_that_we_do_not_guard_are_findings() {
        let ours = json!({"authorizationType": "COGNITO_USER_POOLS", "authorizerId": "z1"});
        let page = json!({"item": [
            {"id": "r0", "path": "/", "resourceMethods": {"GET": {"authorizationType": "NONE"}}},
            {"id": "r1", "parentId": "r0", "pathPart": "user", "path": "/user", "resourceMethods": {"GET": ours}},
            {"id": "r2", "parentId": "r1", "pathPart": "x", "path": "/user/x", "resourceMethods": {"PUT": {}}},
        ]});
        let world = apigateway([on!(Apigateway::get_resources, ok(page.clone()))]);
        let items = survey(&world)
            .methods_in("a1", &["z1".to_owned()].into())
            .await
            .unwrap();
        assert_eq!(
            ids(&items),
            [
                (Kind::Path, "r1"),
                (Kind::Path, "r2"),
                (Kind::Method, "r0/GET"),
                (Kind::Method, "r1/GET"),
                (Kind::Method, "r2/PUT"),
            ]
        );
        let found: Vec<bool> = items.iter().map(|item| item.finding.is_some()).collect();
        assert_eq!(found, [false, false, true, false, true]);
        assert_eq!(items[4].name, "PUT /user/x");
        assert_eq!(items[4].paths, ["r2", "r1/x", "r1", "r0/user", "r0"]);
        assert_eq!(items[1].alias, "r1/x");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_was_changed_where_that_was_after_it_was_made() {
        let stages = json!({"item": [
            {"stageName": "new", "createdDate": 1_700_000_000, "lastUpdatedDate": 1_700_000_000},
            {"stageName": "moved", "createdDate": 1_700_000_000, "lastUpdatedDate": 1_700_000_100},
            {"stageName": "dateless"},
        ]});
        let world = apigateway([on!(Apigateway::get_stages, ok(stages.clone()))]);
        let cx = survey(&world);
        for (name, changed) in [
            ("new", None),
            ("moved", Some(1_700_000_100)),
            ("dateless", None),
            ("other", None),
        ] {
            assert_eq!(cx.stage_changed("a1", name).await.unwrap(), changed, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn paths_that_are_answered_in_a_circle_end() {
        let page = json!({"item": [
            {"id": "r1", "parentId": "r2", "pathPart": "a"}, {"id": "r2", "parentId": "r1", "pathPart": "b"},
        ]});
        let world = apigateway([on!(Apigateway::get_resources, ok(page.clone()))]);
        let items = survey(&world).methods_in("a1", &BTreeSet::new()).await.unwrap();
        assert_eq!(items.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn authorizers_and_stages_are_read_once_for_what_is_ours_and_for_what_is_not() {
        let authorizers = json!({"item": [
            {"id": "z1", "name": "users", "type": "COGNITO_USER_POOLS", "providerARNs": ["arn:ours", "arn:other"]},
            {"id": "z2", "name": "other", "type": "TOKEN"},
        ]});
        let stages = json!({"item": [{"stageName": "dev", "deploymentId": "d1"}, {"stageName": "other"}]});
        let world = apigateway([
            on!(
                Apigateway::get_authorizers,
                |i| { assert_eq!(i.rest_api_id(), Some("a1")) },
                ok(authorizers.clone())
            ),
            on!(
                Apigateway::get_stages,
                |i| { assert_eq!(i.rest_api_id(), Some("a1")) },
                ok(stages.clone())
            ),
        ]);
        let cx = survey(&world);
        let one = cx
            .surveyed_authorizer(&"a1".into(), &"z1".into())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!((one.name(), one.provider_arns().len()), (Some("users"), 2));
        assert!(
            cx.surveyed_authorizer(&"a1".into(), &"z9".into())
                .await
                .unwrap()
                .unwrap()
                .is_none()
        );
        let items = cx.authorizers_in("a1", &["z1".to_owned()].into()).await.unwrap();
        let expected = [
            (Kind::Authorizer, "z1"),
            (Kind::Pool, "arn:ours"),
            (Kind::Pool, "arn:other"),
            (Kind::Authorizer, "z2"),
        ];
        assert_eq!(ids(&items), expected);
        let one = cx
            .surveyed_stage(&"a1".into(), "dev")
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(one.deployment_id(), Some("d1"));
        assert_eq!(
            ids(&cx.stages_in("a1").await.unwrap()),
            [(Kind::Stage, "dev"), (Kind::Stage, "other")]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_read_to_the_last_page_and_users_are_counted_from_the_read_of_the_pool() {
        let pool = json!({"UserPool": {"Id": "p1", "EstimatedNumberOfUsers": 3}});
        let gone = || refused(400, "ResourceNotFoundException", "User pool p9 does not exist.");
        let world = cognito([
            on!(
                Cognito::list_user_pool_clients,
                |i| { assert_eq!((i.user_pool_id(), i.next_token()), (Some("p1"), None)) },
                ok(json!({"UserPoolClients": [], "NextToken": "n"}))
            ),
            on!(
                Cognito::list_user_pool_clients,
                |i| { assert_eq!(i.next_token(), Some("n")) },
                ok(json!({"UserPoolClients": [{"ClientId": "c1", "ClientName": "app"}]}))
            ),
            on!(Cognito::describe_user_pool, ok(pool.clone())),
            on!(Cognito::list_user_pool_clients, gone()),
            on!(Cognito::list_resource_servers, gone()),
        ]);
        let cx = survey(&world);
        let clients = cx.clients_in("p1").await.unwrap();
        assert_eq!(ids(&clients), [(Kind::Client, "c1")]);
        assert_eq!(clients[0].alias, "app");
        assert!(cx.user_pool("p1").await.unwrap().is_some());
        assert_eq!(cx.users_in("p1").await.unwrap()[0].name, "about 3");
        assert_eq!(cx.clients_in("p9").await.unwrap(), []);
        assert_eq!(cx.servers_in("p9").await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn policies_of_a_role_are_its_own_and_those_attached_to_it() {
        let own = "<PolicyNames><member>logs</member></PolicyNames><IsTruncated>false</IsTruncated>";
        let more = "<PolicyNames></PolicyNames><IsTruncated>true</IsTruncated><Marker>m</Marker>";
        let attached = "<AttachedPolicies><member><PolicyName>Admin</PolicyName><PolicyArn>arn:admin</PolicyArn></member>\
                        </AttachedPolicies><IsTruncated>false</IsTruncated>";
        let gone = || iam_refused(404, "NoSuchEntity", "The role with name r9 cannot be found.");
        let world = iam([
            on!(Iam::list_role_policies, iam_ok("ListRolePolicies", more)),
            on!(
                Iam::list_role_policies,
                |i| { assert_eq!((i.role_name(), i.marker()), (Some("r1"), Some("m"))) },
                iam_ok("ListRolePolicies", own)
            ),
            on!(
                Iam::list_attached_role_policies,
                |i| { assert_eq!((i.role_name(), i.marker()), (Some("r1"), None)) },
                iam_ok("ListAttachedRolePolicies", attached)
            ),
            on!(Iam::list_role_policies, gone()),
            on!(Iam::list_attached_role_policies, gone()),
        ]);
        let cx = survey(&world);
        // One after another, as the mock knows one order only.
        assert_eq!(read_own(&cx, "r1").await.unwrap(), ["logs"]);
        assert_eq!(*cx.attached_policies("r1").await.unwrap(), ["arn:admin"]);
        // For every attachment of the stack as well.
        assert_eq!(*cx.attached_policies("r1").await.unwrap(), ["arn:admin"]);
        assert_eq!(read_own(&cx, "r9").await.unwrap(), [""; 0]);
        assert_eq!(read_attached(&cx, "r9").await.unwrap(), [""; 0]);
    }
}
