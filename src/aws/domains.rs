//! The mappings of a domain of API Gateway: which API answers at which path.
//!
//! Must not change anything.

use std::fmt;

use aws_sdk_apigateway::operation::get_base_path_mapping::GetBasePathMappingOutput;

use super::clients::Aws;
use super::pages::Pages;
use super::wait::unless_gone;
use crate::resource::{CallError, Cx, Result};

/// What API Gateway calls the path of a mapping at the root of the domain.
const ROOT: &str = "(none)";

/// A mapping, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Empty: the root of the domain.
    pub base_path: String,
    /// The id of the API, which may be of another type than REST.
    pub api: String,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{} (API {})", self.base_path, self.api)
    }
}

/// The path as calls take it.
pub fn base_path(path: &str) -> &str {
    if path.is_empty() { ROOT } else { path }
}

/// The path as an argument of a command in a shell.
pub fn quoted_base_path(path: &str) -> &str {
    if path.is_empty() { "'(none)'" } else { path }
}

/// The mapping at this path of a domain; `None` if there is none, or no such domain.
///
/// # Errors
/// The call failed.
pub async fn mapping(
    cx: &Cx<Aws>,
    domain: &str,
    path: &str,
) -> Result<Option<GetBasePathMappingOutput>, CallError> {
    let get = || {
        cx.cloud()
            .apigateway
            .get_base_path_mapping()
            .domain_name(domain)
            .base_path(base_path(path))
            .send()
    };
    unless_gone(cx.call("apigateway:GetBasePathMapping", get).await)
}

/// All mappings of a domain; none if there is no such domain.
///
/// # Errors
/// A call failed.
pub async fn mappings(cx: &Cx<Aws>, domain: &str) -> Result<Vec<Mapping>> {
    let mut all = Vec::new();
    let mut pages = Pages::of("apigateway:GetBasePathMappings");
    loop {
        let list = || {
            cx.cloud()
                .apigateway
                .get_base_path_mappings()
                .domain_name(domain)
                .limit(500)
                .set_position(pages.token())
                .send()
        };
        let Some(page) = unless_gone(cx.call("apigateway:GetBasePathMappings", list).await)? else {
            return Ok(all);
        };
        all.extend(page.items.unwrap_or_default().into_iter().map(|item| Mapping {
            base_path: item.base_path.filter(|path| path != ROOT).unwrap_or_default(),
            api: item.rest_api_id.unwrap_or_default(),
        }));
        if !pages.turn(page.position)? {
            return Ok(all);
        }
    }
}
