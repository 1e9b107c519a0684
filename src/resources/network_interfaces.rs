//! The network interfaces that Lambda makes for a function in a private network, with the rights of the function's role.
//!
//! Must not make or delete one: Lambda does both. Its deletion is a wait, so that the role keeps its rights until Lambda has
//! deleted them. Without these rights they would stay, and nobody could delete the subnet and the security groups.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::aws::ec2::Interface;
use crate::aws::pages::Pages;
use crate::aws::wait::unless_gone;
use crate::aws::{Aws, ids};
use crate::resource::{Cx, Kind, NoOutput, Resource, Result};

/// The longest wait. Lambda's guide says 20 minutes; users report 35.
const DEADLINE: Duration = Duration::from_mins(45);
/// When to look whether other functions use the same interfaces: those of this stack that are being deleted are gone then.
const SHARED_AFTER: Duration = Duration::from_mins(5);
/// The pause after the first look. Each further one is a second longer.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How Lambda's descriptions of them begin; then come the function's name and mostly a UUID.
const DESCRIPTION: &str = "AWS Lambda VPC ENI";
/// The length of a UUID.
const UUID: usize = 36;

/// The network interfaces of a function. Functions with the same subnet and security groups share them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkInterfaces {
    /// The function's name.
    pub function: String,
    /// The ids of its subnets.
    pub subnets: BTreeSet<String>,
    /// The ids of its security groups.
    pub security_groups: BTreeSet<String>,
}

/// The private network of a function of whoever.
struct Network {
    subnets: BTreeSet<String>,
    security_groups: BTreeSet<String>,
}

impl NetworkInterfaces {
    /// Those of this function: by its name, also where it has moved to another network since; or by the network.
    async fn live(&self, cx: &Cx<Aws>) -> Result<Vec<Interface>> {
        let mut found = Vec::new();
        let mut pages = Pages::of("ec2:DescribeNetworkInterfaces");
        loop {
            let ec2 = &cx.cloud().ec2;
            let describe = || ec2.describe_network_interfaces(DESCRIPTION, pages.token());
            let page = cx.call("ec2:DescribeNetworkInterfaces", describe).await?;
            found.extend(page.interfaces.into_iter().filter(|one| self.has(one)));
            if !pages.turn(page.next)? {
                return Ok(found);
            }
        }
    }

    fn has(&self, interface: &Interface) -> bool {
        let named = interface.description.strip_prefix(DESCRIPTION);
        let Some(named) = named.and_then(|rest| rest.strip_prefix('-')) else {
            return false;
        };
        let rest = named.strip_prefix(&self.function);
        let is_named =
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-') && rest.len() == 1 + UUID);
        is_named || self.subnets.contains(&interface.subnet) && self.security_groups == interface.groups
    }

    /// The networks of the other functions of the region.
    async fn others(&self, cx: &Cx<Aws>) -> Result<Vec<Network>> {
        let mut networks = Vec::new();
        let mut pages = Pages::of("lambda:ListFunctions");
        loop {
            let lambda = &cx.cloud().lambda;
            let list = || lambda.list_functions().set_marker(pages.token()).send();
            let page = cx.call("lambda:ListFunctions", list).await?;
            for function in page.functions() {
                let is_other = function.function_name() != Some(self.function.as_str());
                if let Some(network) = function.vpc_config().filter(|_| is_other) {
                    networks.push(Network {
                        subnets: network.subnet_ids().iter().cloned().collect(),
                        security_groups: network.security_group_ids().iter().cloned().collect(),
                    });
                }
            }
            if !pages.turn(page.next_marker)? {
                return Ok(networks);
            }
        }
    }

    /// Those that Lambda has to delete, as far as is known: those that another function uses stay for that function.
    async fn left(&self, cx: &Cx<Aws>, waited: Duration) -> Result<Vec<String>> {
        let mut live = self.live(cx).await?;
        if !live.is_empty() && waited >= SHARED_AFTER {
            let others = self.others(cx).await?;
            live.retain(|interface| {
                let uses = |network: &Network| {
                    network.subnets.contains(&interface.subnet) && network.security_groups == interface.groups
                };
                !others.iter().any(uses)
            });
        }
        Ok(live.into_iter().map(|interface| interface.id).collect())
    }
}

impl Resource for NetworkInterfaces {
    type Cloud = Aws;
    type Output = NoOutput;
    const KIND: &'static Kind = &Kind {
        shapes: &[("desired.function", ids::NAME)],
        gone_at_once: true,
        only_waits: true,
        ..Kind::new("network-interfaces")
    };

    fn id(&self, _: &NoOutput) -> String {
        self.function.clone()
    }

    /// There may be some if there is the function.
    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<NoOutput>> {
        let lambda = &cx.cloud().lambda;
        let get = || lambda.get_function().function_name(&self.function).send();
        let found = unless_gone(cx.call("lambda:GetFunction", get).await)?;
        Ok(found.map(|_| NoOutput {}))
    }

    async fn create(&self, _: &Cx<Aws>) -> Result<NoOutput> {
        Ok(NoOutput {})
    }

    async fn read(&self, _: &Cx<Aws>, _: &NoOutput) -> Result<Option<Self>> {
        Ok(Some(self.clone()))
    }

    async fn delete(&self, cx: &Cx<Aws>, _: &NoOutput) -> Result<()> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = self.left(cx, began.elapsed()).await?;
            if left.is_empty() {
                return Ok(());
            }
            let (function, ids) = (&self.function, left.join(", "));
            if cx.cloud().no_wait.get() {
                bail!(
                    "Lambda has not deleted the network interfaces of function {function} yet ({ids}), and --no-wait says not to \
                     wait for that: the function's role stays, because Lambda deletes them with its rights"
                );
            }
            if began.elapsed() >= DEADLINE {
                bail!(
                    "Lambda has not deleted the network interfaces of function {function} in {} minutes: {ids}; the function's \
                     role stays, because Lambda deletes them with its rights",
                    DEADLINE.as_secs() / 60
                );
            }
            cx.waiting(&format!(
                "Lambda to delete the network interfaces of function {function} ({ids}), which takes up to 35 minutes; its \
                 role keeps its rights until then"
            ));
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause + Duration::from_secs(1));
        }
    }
}

#[cfg(test)]
mod tests;
