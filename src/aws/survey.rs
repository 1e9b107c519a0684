//! What many resources are read from with one call: the paths and methods of a REST API.
//!
//! Must not outlive one survey: what is written later is not in it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use aws_sdk_apigateway::types::Resource as Path;
use tokio::sync::OnceCell;

use super::clients::Aws;
use super::pages::Pages;
use super::wait::unless_gone;
use crate::resource::{CallError, Cx, Result};

/// By id; none where the API is gone.
type Paths = HashMap<String, Path>;
/// Made by the first who asks; all others wait for it.
type Shared = Rc<OnceCell<Result<Paths, CallError>>>;

/// The APIs that were read so far, by id.
#[derive(Default)]
pub struct Survey {
    apis: RefCell<HashMap<String, Shared>>,
}

impl Aws {
    /// The same clients for one survey: each API is read once for all of its paths and methods.
    #[must_use]
    pub fn for_a_survey(&self) -> Self {
        Self {
            partition: self.partition.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            apigateway: self.apigateway.clone(),
            cognito: self.cognito.clone(),
            iam: self.iam.clone(),
            lambda: self.lambda.clone(),
            logs: self.logs.clone(),
            secretsmanager: self.secretsmanager.clone(),
            paces: self.paces.clone(),
            new_secrets: self.new_secrets.clone(),
            survey: Some(Survey::default()),
            slow: self.slow.clone(),
        }
    }
}

impl Cx<Aws> {
    /// A path of a REST API with its methods and integrations, from the one read that the survey makes; `None` outside of
    /// a survey.
    pub async fn surveyed_path(&self, api: &str, path: &str) -> Option<Result<Option<Path>, CallError>> {
        let survey = self.cloud().survey.as_ref()?;
        let shared = survey
            .apis
            .borrow_mut()
            .entry(api.to_owned())
            .or_default()
            .clone();
        let paths = shared.get_or_init(|| self.paths(api)).await;
        Some(match paths {
            Ok(paths) => Ok(paths.get(path).cloned()),
            Err(error) => Err(error.clone()),
        })
    }

    async fn paths(&self, api: &str) -> Result<Paths, CallError> {
        let mut paths = Paths::new();
        let mut pages = Pages::of("apigateway:GetResources");
        loop {
            let list = || {
                self.cloud()
                    .apigateway
                    .get_resources()
                    .rest_api_id(api)
                    .embed("methods")
                    // The most that one page holds.
                    .limit(500)
                    .set_position(pages.token())
                    .send()
            };
            let Some(page) = unless_gone(self.call("apigateway:GetResources", list).await)? else {
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
}
