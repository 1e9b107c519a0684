//! The closed list of the kinds of resource.
//!
//! Must not use the engine, the state, the report, the command line or the configuration; no kind uses another.

use std::rc::Rc;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::aws::Aws;
use crate::resource::{Erased, Resource, Result};

pub mod authorizer;
pub mod client;
pub mod deployment;
pub mod function;
pub mod log_group;
pub mod path;
pub mod permission;
pub mod pool_domain;
pub mod resource_server;
pub mod rest_api;
pub mod role;
pub mod role_policy;
pub mod route;
pub mod stage;
pub mod user_pool;

macro_rules! kinds {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        $(pub use $module::$kind;)+

        /// A resource from its record, so that `down` needs no configuration.
        ///
        /// # Errors
        /// No such kind, or the recorded desired state is of another shape.
        pub fn revive(kind: &str, desired: &Value) -> Result<Rc<dyn Erased<Aws>>> {
            match kind {
                $($kind::KIND => {
                    let resource: $kind = serde_json::from_value(desired.clone())
                        .with_context(|| format!("the recorded {kind} is of another shape"))?;
                    Ok(Rc::new(resource))
                })+
                _ => bail!("no kind of resource is called {kind}"),
            }
        }
    };
}

kinds! {
    role::Role,
    role_policy::RolePolicy,
    log_group::LogGroup,
    function::Function,
    permission::Permission,
    user_pool::UserPool,
    pool_domain::PoolDomain,
    resource_server::ResourceServer,
    client::Client,
    rest_api::RestApi,
    authorizer::Authorizer,
    path::Path,
    route::Route,
    deployment::Deployment,
    stage::Stage,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use aws_smithy_runtime_api::client::result::ConnectorError;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{cut_off, failed, our_tags};
    use crate::resource::Class;

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
            "pool": "p", "name": "n", "scopes": [], "flows": ["client_credentials"],
            "explicit_auth_flows": ["ALLOW_REFRESH_TOKEN_AUTH"], "access_token_seconds": 3600,
            "refresh_token_days": 30, "token_revocation": true, "prevent_user_existence_errors": "ENABLED",
        });
        let api = json!({"name": "n", "description": "d", "endpoint": "REGIONAL", "tags": our_tags()});
        let deployment = json!({"api": "a", "description": "hash"});
        [
            revive("user-pool", &pool).unwrap(),
            revive("client", &client).unwrap(),
            revive("rest-api", &api).unwrap(),
            revive("deployment", &deployment).unwrap(),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_without_an_answer_is_sent_once_where_a_second_would_make_a_second() {
        for error in [broken, silent] {
            for resource in not_unique() {
                let (cx, requests) = cut_off(error);
                let (class, text) = failed(resource.create(&cx).await);
                assert_eq!(class, Some(Class::Ambiguous), "{text}");
                assert_eq!(requests.load(Ordering::SeqCst), 1, "{}", resource.kind());
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
                assert!(requests.load(Ordering::SeqCst) > 1, "{}", resource.kind());
            }
        }
    }

    #[test]
    fn an_unknown_kind_and_a_record_of_another_shape_are_told() {
        let unknown = revive("volcano", &json!({})).err().unwrap();
        assert!(unknown.to_string().contains("volcano"));
        let shapeless = revive("rest-api", &json!({"name": 1})).err().unwrap();
        assert!(shapeless.to_string().contains("rest-api"));
    }
}
