//! What is looked at before the first write of a fresh stack.
//!
//! Must not change anything. It looks at what only somebody else can have taken, and spares the rest: the names of roles,
//! functions and log groups have the owner in them, which is drawn at random for a fresh stack; and a full quota fails at
//! the step that meets it, after which `up` goes on.

use std::rc::Rc;

use super::session::{self, Session};
use super::talk::Talk;
use crate::config::Config;
use crate::error::Failure;
use crate::resources::{function, pool_domain};

/// Refuses a configuration that this account or region cannot take, with all that is in the way; at most one read.
pub async fn check(session: &Session, config: &Config, talk: &Rc<Talk>) -> Result<(), Failure> {
    for (name, function) in &config.functions {
        if !function::is_known_runtime(&function.runtime) {
            // AWS adds runtimes, so this is no reason to refuse.
            talk.say(&format!(
                "warning: function {name}: this version of provision does not know the runtime {}; Lambda may",
                function.runtime
            ));
        }
    }
    // Without a fixed prefix the domain has the owner in its name.
    let Some(prefix) = &config.user_pool.domain_prefix else {
        return Ok(());
    };
    let holder = pool_domain::holder(&session.cx(talk), prefix)
        .await
        .map_err(|error| session::hinted(error.into()))?;
    let Some(holder) = holder else { return Ok(()) };
    let whose = if holder.account.as_deref() == Some(&session.identity.account) {
        format!("user pool {} of this account", holder.pool)
    } else {
        "another account".to_owned()
    };
    let region = &session.identity.region;
    Err(Failure::usage(format!(
        "the domain prefix {prefix} is taken in {region}, by {whose}: nothing was made"
    ))
    .hinted("choose another `domain_prefix` in [user_pool], or leave it out: then it has random characters"))
}
