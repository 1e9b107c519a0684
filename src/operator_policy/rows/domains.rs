//! The domains of APIs with their mappings.

use super::super::Task;
use super::super::on::On::{
    CalledMapping, Domain, DomainRole, DomainTags, Mapping, Mappings, MutualTls, NewDomain, OwnDomain,
    Truststore,
};
use super::{Also, DOWN, READ_BY_ALL, Row, UP};

/// Every one.
pub(super) const DOMAINS: &[Row] = &[
    ("apigateway:GetDomainName", Domain, READ_BY_ALL),
    ("apigateway:CreateDomainName", NewDomain, UP),
    ("apigateway:UpdateDomainName", OwnDomain, UP),
    ("apigateway:DeleteDomainName", OwnDomain, DOWN),
    ("apigateway:GetBasePathMappings", Mappings, READ_BY_ALL),
    ("apigateway:CreateBasePathMapping", Mappings, UP),
    ("apigateway:GetBasePathMapping", Mapping, READ_BY_ALL),
    ("apigateway:UpdateBasePathMapping", Mapping, UP),
    ("apigateway:DeleteBasePathMapping", Mapping, DOWN),
];

/// Before a token is sent to a domain.
pub(super) const CALLED: &[Row] = &[("apigateway:GetBasePathMapping", CalledMapping, &[Task::Call])];

/// What they need besides.
pub(super) const ALSO: &[Also] = &[
    ("apigateway:CreateDomainName", "apigateway:PUT", DomainTags),
    ("apigateway:UpdateDomainName", "apigateway:PUT", DomainTags),
    ("apigateway:UpdateDomainName", "apigateway:DELETE", DomainTags),
    // Of mutual TLS: with the rights of the caller API Gateway reads the certificates.
    (
        "apigateway:CreateDomainName",
        "apigateway:AddCertificateToDomain",
        MutualTls,
    ),
    (
        "apigateway:UpdateDomainName",
        "apigateway:AddCertificateToDomain",
        MutualTls,
    ),
    (
        "apigateway:UpdateDomainName",
        "apigateway:RemoveCertificateFromDomain",
        MutualTls,
    ),
    ("apigateway:CreateDomainName", "s3:GetObject", Truststore),
    ("apigateway:CreateDomainName", "s3:GetObjectVersion", Truststore),
    (
        "apigateway:CreateDomainName",
        "iam:CreateServiceLinkedRole",
        DomainRole,
    ),
];
