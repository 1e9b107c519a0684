//! Finds what stacks of one name have made, by the tags and names that carry their owners: for a stack whose record is lost.
//!
//! Must not say that something is there which was not answered by the service that has it: an index of tags may lag.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::clients::Aws;
use super::pages::Pages;
use super::tags::{self, OWNER, STACK};
use crate::mark;
use crate::resource::{Cx, Result};

/// Something that a stack of the given name has made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    /// The owner of the stack that made it.
    pub owner: String,
    /// The kind of the resource, as it is on record.
    pub kind: &'static str,
    /// Its id, as it is shown.
    pub id: String,
    /// When it was made, where the service tells.
    pub created: Option<Timestamp>,
}

/// The REST APIs. The list has the tags, so this is one call for up to 500 of them.
pub async fn apis(cx: &Cx<Aws>, stack: &str) -> Result<Vec<Owned>> {
    let mut found = Vec::new();
    let mut pages = Pages::of("apigateway:GetRestApis");
    loop {
        let list = || {
            let list = cx.cloud().apigateway.get_rest_apis().limit(500);
            list.set_position(pages.token()).send()
        };
        let page = cx.call("apigateway:GetRestApis", list).await?;
        for api in page.items.unwrap_or_default() {
            let tags: BTreeMap<&str, &str> = tags::pairs(api.tags()).collect();
            if let (Some(id), Some(owner)) = (api.id(), owner_in(&tags, stack)) {
                found.push(Owned {
                    owner,
                    kind: "rest-api",
                    id: id.to_owned(),
                    created: api
                        .created_date()
                        .and_then(|date| Timestamp::from_second(date.secs()).ok()),
                });
            }
        }
        if !pages.turn(page.position)? {
            return Ok(found);
        }
    }
}

/// The user pools called `name`.
pub async fn pools(cx: &Cx<Aws>, stack: &str, name: &str) -> Result<Vec<Owned>> {
    let mut found = Vec::new();
    let mut pages = Pages::of("cognito-idp:ListUserPools");
    loop {
        let list = || {
            let list = cx.cloud().cognito.list_user_pools().max_results(60);
            list.set_next_token(pages.token()).send()
        };
        let page = cx.call("cognito-idp:ListUserPools", list).await?;
        for pool in page.user_pools().iter().filter(|pool| pool.name() == Some(name)) {
            let Some(id) = pool.id() else { continue };
            let describe = || cx.cloud().cognito.describe_user_pool().user_pool_id(id).send();
            let described =
                super::wait::unless_gone(cx.call("cognito-idp:DescribeUserPool", describe).await)?;
            let Some(described) = described.and_then(|answer| answer.user_pool) else {
                continue;
            };
            let tags: BTreeMap<&str, &str> = tags::pairs(described.user_pool_tags()).collect();
            if let Some(owner) = owner_in(&tags, stack) {
                found.push(Owned {
                    owner,
                    kind: "user-pool",
                    id: id.to_owned(),
                    created: described
                        .creation_date()
                        .and_then(|date| Timestamp::from_second(date.secs()).ok()),
                });
            }
        }
        if !pages.turn(page.next_token)? {
            return Ok(found);
        }
    }
}

/// The functions whose names carry an owner.
pub async fn functions(cx: &Cx<Aws>, stack: &str) -> Result<Vec<Owned>> {
    let mut found = Vec::new();
    let mut pages = Pages::of("lambda:ListFunctions");
    loop {
        let list = || {
            cx.cloud()
                .lambda
                .list_functions()
                .set_marker(pages.token())
                .send()
        };
        let page = cx.call("lambda:ListFunctions", list).await?;
        let names = page
            .functions()
            .iter()
            .filter_map(|function| function.function_name());
        found.extend(names.filter_map(|name| named("function", name, name, stack)));
        if !pages.turn(page.next_marker)? {
            return Ok(found);
        }
    }
}

/// The log groups of functions and APIs whose names carry an owner.
pub async fn log_groups(cx: &Cx<Aws>, stack: &str) -> Result<Vec<Owned>> {
    let functions = log_groups_in(cx, "/aws/lambda/", stack).await?;
    let apis = log_groups_in(cx, "/aws/apigateway/", stack).await?;
    Ok([functions, apis].concat())
}

async fn log_groups_in(cx: &Cx<Aws>, folder: &str, stack: &str) -> Result<Vec<Owned>> {
    let mut found = Vec::new();
    let mut pages = Pages::of("logs:DescribeLogGroups");
    let prefix = format!("{folder}{stack}_");
    loop {
        let list = || {
            let list = cx
                .cloud()
                .logs
                .describe_log_groups()
                .log_group_name_prefix(&prefix);
            list.set_next_token(pages.token()).send()
        };
        let page = cx.call("logs:DescribeLogGroups", list).await?;
        let names = page
            .log_groups()
            .iter()
            .filter_map(|group| group.log_group_name());
        found.extend(names.filter_map(|name| named("log-group", name, name.strip_prefix(folder)?, stack)));
        if !pages.turn(page.next_token)? {
            return Ok(found);
        }
    }
}

/// The roles whose names carry an owner.
pub async fn roles(cx: &Cx<Aws>, stack: &str) -> Result<Vec<Owned>> {
    let mut found = Vec::new();
    let mut pages = Pages::of("iam:ListRoles");
    loop {
        let list = || {
            cx.cloud()
                .iam
                .list_roles()
                .max_items(1_000)
                .set_marker(pages.token())
                .send()
        };
        let page = cx.call("iam:ListRoles", list).await?;
        let names = page.roles().iter().map(aws_sdk_iam::types::Role::role_name);
        found.extend(names.filter_map(|name| named("role", name, name, stack)));
        if !pages.turn(page.marker.filter(|_| page.is_truncated))? {
            return Ok(found);
        }
    }
}

/// The clients and the resource servers of a user pool whose names have the mark of a stack.
pub async fn in_pool(cx: &Cx<Aws>, stack: &str, pool: &str) -> Result<Vec<Owned>> {
    let (clients, servers) = tokio::try_join!(cx.clients_in(pool), cx.resource_servers(pool))?;
    let marked = |kind, id: &str, name: &str| {
        let (_, owner) = mark::read(name).filter(|(of, _)| *of == stack)?;
        Some(Owned {
            owner: owner.to_owned(),
            kind,
            id: id.to_owned(),
            created: None,
        })
    };
    let clients = clients
        .iter()
        .filter_map(|client| marked("client", &client.id, &client.name));
    let servers =
        (servers.iter()).filter_map(|server| marked("resource-server", server.identifier()?, server.name()?));
    Ok(clients.chain(servers).collect())
}

fn owner_in(tags: &BTreeMap<&str, &str>, stack: &str) -> Option<String> {
    let owner = tags.get(OWNER).filter(|_| tags.get(STACK) == Some(&stack))?;
    is_owner(owner).then(|| (*owner).to_owned())
}

/// `<stack>_<owner>_<name>`: an owner is drawn at random, so nobody else has such a name by chance.
fn named(kind: &'static str, id: &str, name: &str, stack: &str) -> Option<Owned> {
    let (owner, _) = name.strip_prefix(stack)?.strip_prefix('_')?.split_once('_')?;
    is_owner(owner).then(|| Owned {
        owner: owner.to_owned(),
        kind,
        id: id.to_owned(),
        created: None,
    })
}

fn is_owner(text: &str) -> bool {
    text.len() == 8
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner_only_if_it_is_of_this_stack() {
        let owner = |name: &str| named("function", name, name, "shop").map(|owned| owned.owner);
        assert_eq!(owner("shop_1a2b3c4d_orders").as_deref(), Some("1a2b3c4d"));
        for other in [
            "shop_1a2b3c4d",
            "shop_1a2b3c4_orders",
            "shop_1A2B3C4D_orders",
            "shop-1a2b3c4d-orders",
            "shops_1a2b3c4d_orders",
            "my_shop_1a2b3c4d_orders",
            "orders",
        ] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
