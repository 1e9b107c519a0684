//! What a function runs as: a role with its policies, or a role that somebody else made.
//!
//! Must not do I/O or be async: it declares.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Parts;
use crate::aws::{Identity, policy};
use crate::config::Function;
use crate::graph::Handle;
use crate::resources::{NetworkInterfaces, Role, RoleAttachment, RolePolicy};

/// What the step of a function needs to know of its role. Every right that the function is to have is granted by one of these
/// steps, so that it has the right before it is made or changed, and keeps what it loses until then.
pub(super) struct FunctionRole {
    pub arn: String,
    /// The role's step; `None` if somebody else made the role.
    pub step: Option<Handle<Role>>,
    /// The id of a role that somebody else made; empty if it is not known.
    pub foreign_id: String,
    pub policies: Vec<Handle<RolePolicy>>,
    pub attachments: Vec<Handle<RoleAttachment>>,
    /// Of a function in a private network.
    pub interfaces: Option<Handle<NetworkInterfaces>>,
    /// Stands for what the policies grant; empty if there are none.
    pub rights: String,
}

impl Parts<'_> {
    /// Of the function `name`, which is called `full` in AWS.
    pub(super) fn role_of(&mut self, name: &str, full: &str, group_name: &str) -> FunctionRole {
        let function = &self.config.functions[name];
        if let Some(arn) = &function.role {
            return FunctionRole {
                arn: arn.clone(),
                step: None,
                foreign_id: self.roles.get(arn).cloned().unwrap_or_default(),
                policies: Vec::new(),
                attachments: Vec::new(),
                interfaces: None,
                rights: String::new(),
            };
        }
        let step = self.role(name, full);
        let needed = self.needed(function, group_name);
        let needed = self.policy(format!("role-policy:{name}"), &step, full, policy::LOGS, needed);
        let interfaces = self.network_interfaces(name, full, &needed);
        let own = function.policy.clone().map(policy::normal);
        let policies = own.iter().map(|document| {
            let name = format!("function-policy:{name}");
            self.policy(name, &step, full, policy::OWN, document.clone())
        });
        let mut policies: Vec<_> = policies.collect();
        // Otherwise it is not among what the function needs: a function without a log can be made.
        if function.tracing || function.vpc.is_some() {
            policies.push(needed);
        }
        let attachments = (function.managed_policies.iter())
            .map(|arn| self.attachment(name, &step, full, arn))
            .collect();
        let Identity {
            account, partition, ..
        } = self.identity;
        FunctionRole {
            arn: format!(
                "arn:{partition}:iam::{account}:role{}{full}",
                self.config.role_path
            ),
            step: Some(step),
            foreign_id: String::new(),
            policies,
            attachments,
            interfaces,
            rights: rights(own.as_ref(), function),
        }
    }

    fn role(&mut self, name: &str, full: &str) -> Handle<Role> {
        let (full, tags) = (full.to_owned(), self.tags.clone());
        let path = self.config.role_path.clone();
        let permissions_boundary = self.config.permissions_boundary.clone().unwrap_or_default();
        let trust = policy::normal(json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }],
        }));
        self.stack.add(format!("role:{name}"), (), move |()| Role {
            name: full.clone(),
            path: path.clone(),
            trust: trust.clone(),
            permissions_boundary: permissions_boundary.clone(),
            tags: tags.clone(),
        })
    }

    /// What a function needs to write its log, and for its settings.
    fn needed(&self, function: &Function, group_name: &str) -> Value {
        let Identity {
            account,
            partition,
            region,
            ..
        } = self.identity;
        let allow =
            |actions: &[&str], on: &str| json!({"Effect": "Allow", "Action": actions, "Resource": on});
        let group = format!("arn:{partition}:logs:{region}:{account}:log-group:{group_name}:*");
        // No CreateLogGroup: a late invocation must not bring back the group that `down` deleted.
        let mut statements = vec![allow(&["logs:CreateLogStream", "logs:PutLogEvents"], &group)];
        if function.tracing {
            statements.push(allow(&["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"));
        }
        if function.vpc.is_some() {
            // With them Lambda makes and deletes the function's network interfaces.
            let actions = [
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:UnassignPrivateIpAddresses",
            ];
            statements.push(allow(&actions, "*"));
        }
        policy::normal(json!({"Version": "2012-10-17", "Statement": statements}))
    }

    /// What is between a function in a private network and the rights of its role: on the way down Lambda deletes the
    /// network interfaces with them, minutes after the function.
    fn network_interfaces(
        &mut self,
        name: &str,
        full: &str,
        policy: &Handle<RolePolicy>,
    ) -> Option<Handle<NetworkInterfaces>> {
        let vpc = self.config.functions[name].vpc.clone()?;
        let function = full.to_owned();
        let step = format!("network-interfaces:{name}");
        Some(self.stack.add(step, policy.clone(), move |_| NetworkInterfaces {
            function: function.clone(),
            subnets: vpc.subnets.clone(),
            security_groups: vpc.security_groups.clone(),
        }))
    }

    /// An inline policy of the role that is called `role` in AWS.
    fn policy(
        &mut self,
        step: String,
        needs: &Handle<Role>,
        role: &str,
        name: &'static str,
        document: Value,
    ) -> Handle<RolePolicy> {
        let role = role.to_owned();
        self.stack.add(step, needs.clone(), move |_| RolePolicy {
            role: role.clone(),
            name: name.to_owned(),
            document: document.clone(),
        })
    }

    fn attachment(
        &mut self,
        function: &str,
        needs: &Handle<Role>,
        role: &str,
        arn: &str,
    ) -> Handle<RoleAttachment> {
        // All ARNs of policies begin alike: what is left is the account, which is `aws` for one of AWS's own, and the name.
        let short: Vec<&str> = arn.splitn(5, ':').collect();
        let short = short.last().copied().unwrap_or(arn);
        let (role, arn) = (role.to_owned(), arn.to_owned());
        let step = format!("role-attachment:{function}:{short}");
        self.stack.add(step, needs.clone(), move |_| RoleAttachment {
            role: role.clone(),
            policy_arn: arn.clone(),
        })
    }
}

/// Differs after every change of what the function's own policies grant, as far as they are in the configuration.
fn rights(own: Option<&Value>, function: &Function) -> String {
    if own.is_none() && function.managed_policies.is_empty() {
        return String::new();
    }
    let all = json!([own, function.managed_policies]).to_string();
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(all));
    format!("sha256:{}", &hash[..16])
}
