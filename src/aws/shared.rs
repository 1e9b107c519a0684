//! Where one survey keeps what it has read, for all that are read from the same answer.
//!
//! Must not make calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use aws_sdk_apigateway::types::{Authorizer, Resource, Stage};
use aws_sdk_cognitoidentityprovider::operation::describe_user_pool::DescribeUserPoolOutput;
use aws_sdk_cognitoidentityprovider::types::ResourceServerType;
use aws_sdk_iam::operation::get_role::GetRoleOutput;
use tokio::sync::OnceCell;

use crate::resource::{CallError, Result};

/// By id; empty if the API is gone.
pub(super) type Paths = HashMap<String, Resource>;

type Cell<T> = Rc<OnceCell<Result<Rc<T>, CallError>>>;

/// Answers by the id or name of what they are about. The first who asks for one reads it; all others wait for that.
pub(super) struct Shared<T>(RefCell<HashMap<String, Cell<T>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Shared<T> {
    /// What was read of `key`; `read` is awaited only if nobody did before.
    pub(super) async fn get(
        &self,
        key: &str,
        read: impl Future<Output = Result<T, CallError>>,
    ) -> Result<Rc<T>, CallError> {
        let cell = self.0.borrow_mut().entry(key.to_owned()).or_default().clone();
        cell.get_or_init(|| async { read.await.map(Rc::new) })
            .await
            .clone()
    }
}

/// What one survey has read so far.
#[derive(Default)]
pub struct Survey {
    pub(super) paths: Shared<Paths>,
    pub(super) authorizers: Shared<Vec<Authorizer>>,
    pub(super) stages: Shared<Vec<Stage>>,
    pub(super) pools: Shared<Option<DescribeUserPoolOutput>>,
    pub(super) servers: Shared<Vec<ResourceServerType>>,
    pub(super) policies: Shared<Option<String>>,
    pub(super) roles: Shared<Option<GetRoleOutput>>,
    pub(super) attached: Shared<Vec<String>>,
}
