//! The closed list of the kinds of resource.
//!
//! Must not use the engine, the state, the report, the command line or the configuration; no kind may use another one.

use crate::aws::Aws;
use crate::resource::{Kinds, Listed};

pub mod authorizer;
pub mod backend_permission;
pub mod base_path_mapping;
pub mod client;
pub mod custom_domain;
pub mod deployment;
pub mod domain_name;
pub mod firewall;
pub mod function;
pub mod log_group;
pub mod network_interfaces;
pub mod path;
pub mod permission;
pub mod pool_domain;
pub mod resource_server;
pub mod rest_api;
pub mod role;
pub mod role_attachment;
pub mod role_policy;
pub mod route;
pub mod shared_pool;
pub mod stage;
pub mod user_pool;

pub use self::{
    authorizer::Authorizer, backend_permission::BackendPermission, base_path_mapping::BasePathMapping,
    client::Client, custom_domain::CustomDomain, deployment::Deployment, domain_name::DomainName,
    firewall::Firewall, function::Function, log_group::LogGroup, network_interfaces::NetworkInterfaces,
    path::Path, permission::Permission, pool_domain::PoolDomain, resource_server::ResourceServer,
    rest_api::RestApi, role::Role, role_attachment::RoleAttachment, role_policy::RolePolicy, route::Route,
    shared_pool::SharedPool, stage::Stage, user_pool::UserPool,
};

/// Every kind that a record can be of.
pub const KINDS: Kinds<Aws> = Kinds(&[
    Listed::new::<Role>(),
    Listed::new::<RolePolicy>(),
    Listed::new::<RoleAttachment>(),
    Listed::new::<LogGroup>(),
    Listed::new::<NetworkInterfaces>(),
    Listed::new::<Function>(),
    Listed::new::<Permission>(),
    Listed::new::<BackendPermission>(),
    Listed::new::<UserPool>(),
    Listed::new::<PoolDomain>(),
    Listed::new::<SharedPool>(),
    Listed::new::<ResourceServer>(),
    Listed::new::<Client>(),
    Listed::new::<RestApi>(),
    Listed::new::<Authorizer>(),
    Listed::new::<Path>(),
    Listed::new::<Route>(),
    Listed::new::<Deployment>(),
    Listed::new::<Stage>(),
    Listed::new::<DomainName>(),
    Listed::new::<BasePathMapping>(),
    Listed::new::<CustomDomain>(),
    Listed::new::<Firewall>(),
]);

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::atomic::Ordering;

    use aws_smithy_runtime_api::client::result::ConnectorError;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{cut_off, failed, our_tags};
    use crate::resource::{Class, Erased};

    fn broken() -> ConnectorError {
        ConnectorError::io("connection reset by peer".into())
    }

    fn silent() -> ConnectorError {
        ConnectorError::timeout("no answer".into())
    }

    /// One of each kind whose names are not unique: a second create would make a second one.
    fn not_unique() -> [Rc<dyn Erased<Aws>>; 4] {
        let pool = json!({
            "name": "n", "admin_create_user_only": true, "issuer": "ORIGINAL", "tier": "ESSENTIALS",
            "deletion_protection": false, "tags": our_tags(),
        });
        let client = json!({
            "pool": "p", "name": "n", "mark": "", "scopes": [], "flows": ["client_credentials"],
            "explicit_auth_flows": ["ALLOW_REFRESH_TOKEN_AUTH"], "access_token_seconds": 3600,
            "refresh_token_days": 30, "token_revocation": true, "prevent_user_existence_errors": "ENABLED",
        });
        let api = json!({
            "name": "n", "description": "d", "endpoint": "REGIONAL", "default_endpoint_closed": false,
            "security_policy": "", "tags": our_tags(),
        });
        let deployment = json!({"api": "a", "description": "hash"});
        [
            KINDS.revive("user-pool", &pool).unwrap(),
            KINDS.revive("client", &client).unwrap(),
            KINDS.revive("rest-api", &api).unwrap(),
            KINDS.revive("deployment", &deployment).unwrap(),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_without_an_answer_is_sent_once_where_a_second_would_make_a_second() {
        for error in [broken, silent] {
            for resource in not_unique() {
                let (cx, requests) = cut_off(error);
                let (class, text) = failed(resource.create(&cx).await);
                assert_eq!(class, Some(Class::Ambiguous), "{text}");
                assert_eq!(requests.load(Ordering::SeqCst), 1, "{}", resource.kind().name);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_without_an_answer_is_repeated() {
        for error in [broken, silent] {
            for resource in not_unique() {
                let (cx, requests) = cut_off(error);
                let (class, text) = failed(resource.find(&cx).await);
                assert_eq!(class, Some(Class::Ambiguous), "{text}");
                assert!(requests.load(Ordering::SeqCst) > 1, "{}", resource.kind().name);
            }
        }
    }

    #[test]
    fn an_unknown_kind_and_a_record_of_another_shape_are_told() {
        let unknown = KINDS.revive("volcano", &json!({})).err().unwrap();
        assert!(unknown.to_string().contains("volcano"));
        let shapeless = KINDS.revive("rest-api", &json!({"name": 1})).err().unwrap();
        assert!(shapeless.to_string().contains("rest-api"));
    }
}
