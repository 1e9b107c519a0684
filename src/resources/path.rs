//! One path part of a REST API (what API Gateway calls a resource).
//!
//! Must not create the methods on it.

use anyhow::Context;
use aws_sdk_apigateway::types::Resource as Live;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::aws::ids::{self, ApiId, PathId};
use crate::aws::pages::Pages;
use crate::aws::wait::unless_gone;
use crate::resource::{Cx, Kind, Published, Resource, Result};

/// A path part under its parent. Parts are unique under one parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// The REST API's id.
    pub api: ApiId,
    /// The parent's id.
    pub parent: PathId,
    /// Such as `user` or `{id}`.
    pub part: String,
}

/// What dependents and calls need of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The path's id.
    pub id: PathId,
}

impl Published for Output {
    fn placeholder(mark: &str) -> Self {
        Self { id: mark.into() }
    }
}

impl Path {
    async fn get(&self, cx: &Cx<Aws>, id: &PathId) -> Result<Option<Live>> {
        let get = || {
            cx.cloud()
                .apigateway
                .get_resource()
                .rest_api_id(&self.api)
                .resource_id(id)
                .send()
        };
        let live = unless_gone(cx.call("apigateway:GetResource", get).await)?;
        Ok(live.map(|live| {
            Live::builder()
                .set_parent_id(live.parent_id)
                .set_path_part(live.path_part)
                .build()
        }))
    }
}

impl Resource for Path {
    type Cloud = Aws;
    type Output = Output;
    const KIND: &'static Kind = &Kind {
        shapes: &[
            ("desired.api", ids::API),
            ("desired.parent", ids::API),
            ("desired.part", ids::PATH_PART),
            ("output.id", ids::API),
        ],
        fixed: &["api", "parent", "part"],
        dies_with: Some("rest-api"),
        removed_first: true,
        ..Kind::new("path")
    };

    fn lane(&self) -> Option<String> {
        Some(format!("rest-api {}", self.api))
    }

    fn id(&self, out: &Output) -> String {
        out.id.to_string()
    }

    async fn find(&self, cx: &Cx<Aws>) -> Result<Option<Output>> {
        let mut pages = Pages::of("apigateway:GetResources");
        loop {
            let list = || {
                cx.cloud()
                    .apigateway
                    .get_resources()
                    .rest_api_id(&self.api)
                    .limit(500)
                    .set_position(pages.token())
                    .send()
            };
            let Some(page) = unless_gone(cx.call("apigateway:GetResources", list).await)? else {
                return Ok(None);
            };
            let ours = page.items().iter().find(|path| {
                path.parent_id() == Some(self.parent.as_str()) && path.path_part() == Some(&self.part)
            });
            if let Some(id) = ours.and_then(|path| path.id()) {
                return Ok(Some(Output { id: id.into() }));
            }
            if !pages.turn(page.position)? {
                return Ok(None);
            }
        }
    }

    async fn create(&self, cx: &Cx<Aws>) -> Result<Output> {
        let create = || {
            cx.cloud()
                .apigateway
                .create_resource()
                .rest_api_id(&self.api)
                .parent_id(&self.parent)
                .path_part(&self.part)
                .send()
        };
        let path = cx.call("apigateway:CreateResource", create).await?;
        Ok(Output {
            id: path
                .id
                .context("apigateway:CreateResource answered no id")?
                .into(),
        })
    }

    async fn read(&self, cx: &Cx<Aws>, out: &Output) -> Result<Option<Self>> {
        let live = match cx.surveyed_path(&self.api, &out.id).await {
            Some(surveyed) => surveyed?,
            None => self.get(cx, &out.id).await?,
        };
        Ok(live.map(|live| Self {
            api: self.api.clone(),
            parent: live.parent_id().unwrap_or_default().into(),
            part: live.path_part().unwrap_or_default().to_owned(),
        }))
    }

    async fn delete(&self, cx: &Cx<Aws>, out: &Output) -> Result<()> {
        let delete = || {
            cx.cloud()
                .apigateway
                .delete_resource()
                .rest_api_id(&self.api)
                .resource_id(&out.id)
                .send()
        };
        unless_gone(cx.call("apigateway:DeleteResource", delete).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_apigateway::Client as Sdk;
    use serde_json::json;

    use super::*;
    use crate::aws::test_support::{apigateway, failed, ok, on, refused};
    use crate::resource::Class;

    fn desired() -> Path {
        Path {
            api: "a1b2c3".into(),
            parent: "r0".into(),
            part: "user".to_owned(),
        }
    }

    fn out() -> Output {
        Output { id: "r1".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_missing_is_not_found_reads_as_none_and_is_deleted() {
        let gone = || refused(404, "NotFoundException", "Invalid Resource identifier specified");
        let cx = apigateway([
            on!(
                Sdk::get_resources,
                ok(json!({"item": [{"id": "r0", "path": "/"}]}))
            ),
            on!(Sdk::get_resources, gone()),
            on!(Sdk::get_resource, gone()),
            on!(
                Sdk::delete_resource,
                |i| { assert_eq!((i.rest_api_id(), i.resource_id()), (Some("a1b2c3"), Some("r1"))) },
                gone()
            ),
        ]);
        assert!(desired().find(&cx).await.unwrap().is_none());
        assert!(
            desired().find(&cx).await.unwrap().is_none(),
            "its API is gone too"
        );
        assert_eq!(desired().read(&cx, &out()).await.unwrap(), None);
        desired().delete(&cx, &out()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_found_on_the_second_page_and_not_under_another_parent() {
        let first = json!({"item": [{"id": "r9", "parentId": "r8", "pathPart": "user"}], "position": "2"});
        let second = json!({"item": [{"id": "r1", "parentId": "r0", "pathPart": "user", "path": "/user"}]});
        let cx = apigateway([
            on!(
                Sdk::get_resources,
                |i| { assert_eq!(i.position(), None) },
                ok(first.clone())
            ),
            on!(
                Sdk::get_resources,
                |i| { assert_eq!(i.position(), Some("2")) },
                ok(second.clone())
            ),
        ]);
        assert_eq!(desired().find(&cx).await.unwrap().unwrap().id, "r1");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_created_under_its_parent_and_reads_as_itself() {
        let live = || ok(json!({"id": "r1", "parentId": "r0", "pathPart": "user", "path": "/user"}));
        let cx = apigateway([
            on!(
                Sdk::create_resource,
                |i| { assert_eq!((i.parent_id(), i.path_part()), (Some("r0"), Some("user"))) },
                live()
            ),
            on!(Sdk::get_resource, live()),
        ]);
        let made = desired().create(&cx).await.unwrap();
        assert_eq!(made.id, "r1");
        assert_eq!(desired().read(&cx, &made).await.unwrap(), Some(desired()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_part_is_told_as_taken() {
        let text = "Another resource with the same parent already has this name: user";
        let cx = apigateway([on!(Sdk::create_resource, refused(409, "ConflictException", text))]);
        assert_eq!(failed(desired().create(&cx).await).0, Some(Class::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_changed_is_drift_of_that_field_alone() {
        for (live, expected) in [
            (
                json!({"id": "r1", "parentId": "r9", "pathPart": "user"}),
                Path {
                    parent: "r9".into(),
                    ..desired()
                },
            ),
            (
                json!({"id": "r1", "parentId": "r0", "pathPart": "x"}),
                Path {
                    part: "x".to_owned(),
                    ..desired()
                },
            ),
        ] {
            let cx = apigateway([on!(Sdk::get_resource, ok(live.clone()))]);
            assert_eq!(desired().read(&cx, &out()).await.unwrap(), Some(expected));
        }
    }
}
