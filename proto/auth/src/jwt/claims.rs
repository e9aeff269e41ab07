//! From the claims of a verified token to who it is to us.

use serde_json::{Map, Value};
use trivium_model::TenantId;

use super::Refusal;
use crate::config::ClaimMapping;
use crate::role::Role;
use crate::store::{Credentials, DEFAULT_TENANT};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 256;

/// Values of a claim that are looked at.
const VALUES_MAX: usize = 1_024;

/// Who the subject of a token is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) tenant: TenantId,
}

/// Finds name, role and tenant. What the mapping does not name gives nothing.
pub(crate) fn subject(
    claims: &Map<String, Value>,
    mapping: &ClaimMapping,
    credentials: &Credentials,
) -> Result<Subject, Refusal> {
    let name = find(claims, &mapping.name_claim).and_then(Value::as_str).map(str::trim);
    let name = name.filter(|name| !name.is_empty() && !name.contains(char::is_control));
    let name = name.ok_or_else(|| Refusal::Claim(mapping.name_claim.clone()))?;
    let tenant_name = match &mapping.tenant_claim {
        None => DEFAULT_TENANT,
        Some(claim) => {
            let mut names = values(claims, claim).filter_map(|value| mapping.tenants.get(value));
            // Of two tenants neither can be the right one.
            match (names.next(), names.next()) {
                (Some(name), None) => name.as_str(),
                _ => return Err(Refusal::NoTenant),
            }
        }
    };
    let tenant = credentials.with(|index| index.tenant_named(tenant_name)).ok_or(Refusal::NoTenant)?;
    let role = role(claims, mapping).ok_or(Refusal::NoRole)?;
    Ok(Subject { name: name.chars().take(NAME_CHARS_MAX).collect(), role, tenant })
}

fn role(claims: &Map<String, Value>, mapping: &ClaimMapping) -> Option<Role> {
    let given: Vec<Role> = match &mapping.role_claim {
        Some(claim) => values(claims, claim).filter_map(|value| mapping.roles.get(value)).copied().collect(),
        None => Vec::new(),
    };
    Role::ALL.into_iter().find(|role| given.contains(role)).or(mapping.default_role)
}

/// The texts of a claim: itself, or those in its list.
fn values<'a>(claims: &'a Map<String, Value>, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let (one, many) = match find(claims, path) {
        Some(Value::String(one)) => (Some(one.as_str()), [].as_slice()),
        Some(Value::Array(many)) => (None, many.as_slice()),
        _ => (None, [].as_slice()),
    };
    one.into_iter().chain(many.iter().take(VALUES_MAX).filter_map(Value::as_str))
}

/// A claim of exactly this name, as those with a URL for a name have dots in them, or else along the path.
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}
