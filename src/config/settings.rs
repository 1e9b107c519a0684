//! The optional settings of a function: its layers, its key and its private network.
//!
//! Must not know what the settings are for.

use std::collections::{BTreeMap, BTreeSet};

use super::keys;
use super::problems::{At, Problems, quoted};
use super::rules::{arn_region, layer_of_version};
use super::tree::Table;
use super::{Function, Regional, Vpc};

/// The most layers that Lambda takes.
const LAYERS: usize = 5;
/// The most subnets and security groups.
const SUBNETS: usize = 16;
const SECURITY_GROUPS: usize = 5;

/// Reads them into `function`.
pub(super) fn settings(table: &Table<'_>, function: &mut Function, p: &mut Problems) {
    if let Some(description) = table.ruled("description", keys::FUNCTION.rule("description"), p) {
        description.value.clone_into(&mut function.description);
    }
    if let Some(size) = table.integer(
        "ephemeral_storage_mb",
        &keys::FUNCTION.range("ephemeral_storage_mb"),
        " megabytes",
        p,
    ) {
        function.ephemeral_storage_mb = size.value;
    }
    if let Some(tracing) = table.flag("tracing", p) {
        function.tracing = tracing;
    }
    if let Some(format) = table.ruled("log_format", keys::FUNCTION.rule("log_format"), p) {
        format.value.clone_into(&mut function.log_format);
    }
    if let Some(reserved) = table.integer(
        "reserved_concurrency",
        &keys::FUNCTION.range("reserved_concurrency"),
        " invocations at once",
        p,
    ) {
        function.reserved_concurrency = Some(reserved.value);
    }
    if let Some(key) = table.ruled("kms_key", keys::FUNCTION.rule("kms_key"), p) {
        function.regional.push(regional(table, "kms_key", key, p));
        function.kms_key = Some(key.value.to_owned());
    }
    layers(table, function, p);
    function.vpc = vpc(table, p);
}

/// What must be in the region of the stack, which may be known only once the command runs.
pub(super) fn regional(table: &Table<'_>, key: &str, arn: At<&str>, p: &Problems) -> Regional {
    Regional {
        region: arn_region(arn.value).to_owned(),
        problem: p.later(arn.at, table.key(key)),
    }
}

fn layers(table: &Table<'_>, function: &mut Function, p: &mut Problems) {
    let expected = "an array of the ARNs of layer versions";
    let Some(found) = table.list("layers", expected, p) else {
        return;
    };
    if found.value.len() > LAYERS {
        p.add(
            found.at,
            format!(
                "{}: expected at most {LAYERS} layers, got {}",
                table.key("layers"),
                found.value.len()
            ),
        );
    }
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for layer in found.value {
        if !p.check(keys::FUNCTION.rule("layers"), table.key("layers"), layer) {
            continue;
        }
        if let Some(other) = seen.insert(layer_of_version(layer.value), layer.value) {
            let problem = if other == layer.value {
                format!("{} is there twice", quoted(layer.value))
            } else {
                format!(
                    "expected one version of a layer, got {other:?} and {:?}",
                    layer.value
                )
            };
            p.add(layer.at, format!("{}: {problem}", table.key("layers")));
        }
        function.regional.push(regional(table, "layers", layer, p));
        function.layers.push(layer.value.to_owned());
    }
}

fn vpc(table: &Table<'_>, p: &mut Problems) -> Option<Vpc> {
    let table = table.table("vpc", table.key("vpc"), p)?;
    table.only(&keys::VPC.names(), p);
    table.require("subnets", "the ids of the subnets", p);
    table.require("security_groups", "the ids of the security groups", p);
    Some(Vpc {
        subnets: ids(&table, "subnets", SUBNETS, p),
        security_groups: ids(&table, "security_groups", SECURITY_GROUPS, p),
    })
}

/// 1 to `most` different ids.
fn ids(table: &Table<'_>, key: &str, most: usize, p: &mut Problems) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let Some(found) = table.list(key, "an array of ids", p) else {
        return ids;
    };
    let number = found.value.len();
    if !(1..=most).contains(&number) {
        p.add(
            found.at,
            format!("{}: expected 1 to {most} ids, got {number}", table.key(key)),
        );
    }
    for id in found.value {
        if p.check(keys::VPC.rule(key), table.key(key), id) && !ids.insert(id.value.to_owned()) {
            p.add(
                id.at,
                format!("{}: {} is there twice", table.key(key), quoted(id.value)),
            );
        }
    }
    ids
}
