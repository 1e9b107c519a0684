//! The REST API with all that is in it.

use super::super::on::On::{AnyApi, Api, ApiTags, Apis, Firewall, FirewalledApi, NewApi, Settings};
use super::{Also, DOWN, READ, READ_BY_ALL, Row, UP};

/// Every one. `down` calls no operation for what AWS deletes with the API.
pub(super) const API: &[Row] = &[
    ("apigateway:GetAccount", Settings, READ),
    ("apigateway:GetRestApis", Apis, DOWN),
    ("apigateway:CreateRestApi", NewApi, UP),
    ("apigateway:GetRestApi", AnyApi, READ_BY_ALL),
    ("apigateway:UpdateRestApi", Api, UP),
    ("apigateway:DeleteRestApi", Api, DOWN),
    ("apigateway:TagResource", ApiTags, UP),
    ("apigateway:UntagResource", ApiTags, UP),
    ("apigateway:GetAuthorizers", AnyApi, READ),
    ("apigateway:GetAuthorizer", AnyApi, UP),
    ("apigateway:CreateAuthorizer", Api, UP),
    ("apigateway:UpdateAuthorizer", Api, UP),
    ("apigateway:DeleteAuthorizer", Api, UP),
    ("apigateway:GetResources", AnyApi, READ_BY_ALL),
    ("apigateway:GetResource", AnyApi, UP),
    ("apigateway:CreateResource", Api, UP),
    ("apigateway:DeleteResource", Api, UP),
    ("apigateway:GetMethod", AnyApi, UP),
    ("apigateway:PutMethod", Api, UP),
    ("apigateway:UpdateMethod", Api, UP),
    ("apigateway:DeleteMethod", Api, UP),
    ("apigateway:PutIntegration", Api, UP),
    ("apigateway:UpdateIntegration", Api, UP),
    ("apigateway:GetDeployments", AnyApi, UP),
    ("apigateway:GetDeployment", AnyApi, READ),
    ("apigateway:CreateDeployment", Api, UP),
    ("apigateway:UpdateDeployment", Api, UP),
    ("apigateway:DeleteDeployment", Api, UP),
    ("wafv2:GetWebACLForResource", Firewall, READ_BY_ALL),
    ("wafv2:AssociateWebACL", Firewall, UP),
    ("wafv2:DisassociateWebACL", Firewall, DOWN),
    ("apigateway:GetStages", AnyApi, READ_BY_ALL),
    ("apigateway:GetStage", AnyApi, UP),
    ("apigateway:CreateStage", Api, UP),
    ("apigateway:UpdateStage", Api, UP),
    ("apigateway:DeleteStage", Api, UP),
];

/// What they need besides.
pub(super) const ALSO: &[Also] = &[
    ("wafv2:AssociateWebACL", "apigateway:SetWebACL", FirewalledApi),
    ("wafv2:DisassociateWebACL", "apigateway:SetWebACL", FirewalledApi),
    ("apigateway:CreateRestApi", "apigateway:PUT", ApiTags),
    ("apigateway:CreateStage", "apigateway:PUT", ApiTags),
    ("apigateway:TagResource", "apigateway:PATCH", Api),
    ("apigateway:UntagResource", "apigateway:PATCH", Api),
];
