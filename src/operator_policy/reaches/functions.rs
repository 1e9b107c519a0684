//! Functions with their roles and log groups, and the functions of back ends.

use super::super::Scope;
use super::super::on::On::{
    self, Backend, BackendForApi, BoundedRole, ForeignRole, ForeignRoleForLambda, Function, FunctionForApi,
    Key, Layer, LogGroup, NewRole, Role, RoleForLambda, RoleWithPolicy, UnboundedRole,
};
use super::{Reach, all, is, one, passed_to};
use crate::stack::access_log_group;

fn cloned<'a>(arns: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    arns.into_iter().cloned().collect()
}

impl Scope {
    pub(super) fn reaches_of_functions(&self, on: On) -> Vec<Reach> {
        let roles = &self.roles;
        let (boundary, policies) = (cloned(&roles.boundary), cloned(&roles.policies));
        let for_api = || is("lambda:Principal", &["apigateway.amazonaws.com".to_owned()]);
        match on {
            Role | NewRole => all(on, self.own_roles(), None),
            BoundedRole if boundary.is_empty() => Vec::new(),
            BoundedRole => all(on, self.own_roles(), is("iam:PermissionsBoundary", &boundary)),
            UnboundedRole if roles.lose_boundary => all(on, self.own_roles(), None),
            UnboundedRole => Vec::new(),
            RoleWithPolicy if policies.is_empty() => Vec::new(),
            RoleWithPolicy => all(on, self.own_roles(), is("iam:PolicyARN", &policies)),
            RoleForLambda => all(on, self.own_roles(), passed_to("lambda")),
            ForeignRole => all(on, cloned(&roles.foreign), None),
            ForeignRoleForLambda => all(on, cloned(&roles.foreign), passed_to("lambda")),
            Function => one(on, self.function(), None),
            FunctionForApi => one(on, self.function(), for_api()),
            Backend => all(on, cloned(&self.backends), None),
            BackendForApi => all(on, cloned(&self.backends), for_api()),
            LogGroup => {
                let group = |name: &str| self.here("logs", &format!("log-group:{name}"));
                let mut groups = vec![group(&format!("/aws/lambda/{}", self.name("*")))];
                let access = access_log_group(&self.name("access"));
                groups.extend(self.has_access_logs.then(|| group(&access)));
                all(on, groups, None)
            }
            Layer => all(on, cloned(&self.layers), None),
            Key => all(on, cloned(&self.keys), None),
            _ => unreachable!("{on:?} is not of a function"),
        }
    }

    fn own_roles(&self) -> Vec<String> {
        let names = self.name("*");
        let role = |path: &str| self.arn("iam", "", &self.account, &format!("role{path}{names}"));
        if self.roles.paths.is_empty() {
            return vec![role("/")];
        }
        self.roles.paths.iter().map(|path| role(path)).collect()
    }

    fn function(&self) -> String {
        self.here("lambda", &format!("function:{}", self.name("*")))
    }
}
