//! The closed list of the kinds of resource.
//!
//! Must not use the engine, the state, the report, the command line or the configuration; no kind uses another.

use std::rc::Rc;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::aws::Aws;
use crate::resource::{Erased, Resource, Result};

macro_rules! kinds {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        $(pub mod $module; pub use $module::$kind;)+

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
