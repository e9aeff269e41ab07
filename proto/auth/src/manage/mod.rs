//! Tokens, users and tenants: made, changed and ended by whoever may.

mod first;
#[cfg(test)]
mod tests;
mod token;
mod user;

use serde::Serialize;
use trivium_model::{TenantId, UnixNanos};

use crate::authenticator::Authenticator;
use crate::error::Error;
use crate::principal::{Permission, Principal};
use crate::role::{Role, Verb};
use crate::store::{Change, Index, TENANTS_MAX, TenantRecord, nanos};

pub use token::{NewToken, TokenInfo};
pub use user::{NewUser, UserChange, UserInfo};

/// A tenant, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TenantInfo {
    /// Its number, by which its data are kept.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Since when, in nanoseconds since 1970.
    #[serde(with = "nanos")]
    pub created: UnixNanos,
}

/// The name of a user in the form in which it is kept; `None` when it cannot be one.
pub(crate) fn user_name(text: &str) -> Option<String> {
    let text = text.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    (1..=128).contains(&text.len()).then_some(())?;
    text.bytes().all(is_name).then(|| text.to_ascii_lowercase())
}

/// What a credential may be called.
fn label(text: &str) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 128 || text.contains(char::is_control) {
        return Err(Error::invalid("name: 1 to 128 characters, none of them a control character"));
    }
    Ok(text.to_owned())
}

/// Whether a text is the name of a tenant: `[a-z0-9][a-z0-9_-]{0,62}`.
fn is_tenant_name(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(is_first)
        && bytes.all(|byte| is_first(byte) || byte == b'_' || byte == b'-')
}

impl Authenticator {
    /// The tenant that a request is about: by its name, or else the caller's own. A tenant that the caller may not administer
    /// and one that does not exist are the same to it.
    fn administered(&self, by: &Principal, name: Option<&str>) -> Result<TenantId, Error> {
        let tenant = match name {
            None => Some(by.tenant),
            Some(name) => self.credentials.with(|index| index.tenant_named(name)),
        };
        match tenant {
            Some(tenant) if by.may_administer(tenant) => Ok(tenant),
            _ => Err(Error::forbidden(format!(
                "{} may not administer this tenant, or there is none of this name",
                by.name
            ))),
        }
    }

    /// The tenants that the caller may administer.
    pub fn tenants(&self, by: &Principal) -> Vec<TenantInfo> {
        let default = TenantInfo { id: 0, name: crate::store::DEFAULT_TENANT.into(), created: UnixNanos(0) };
        let others = self.credentials.with(|index| {
            let infos =
                index.tenants().map(|one| TenantInfo { id: one.id, name: one.name.clone(), created: one.created });
            infos.collect::<Vec<_>>()
        });
        std::iter::once(default).chain(others).filter(|tenant| by.may_administer(TenantId(tenant.id))).collect()
    }

    /// The tenant of a name.
    pub fn tenant_named(&self, name: &str) -> Option<TenantId> {
        self.credentials.with(|index| index.tenant_named(name))
    }

    /// The name of a tenant; `None` when there is none of this number.
    pub fn tenant_name(&self, tenant: TenantId) -> Option<String> {
        self.credentials.with(|index| {
            let found = index.tenants().find(|record| record.id == tenant.0).map(|record| record.name.clone());
            found.or_else(|| (tenant == TenantId::DEFAULT).then(|| crate::store::DEFAULT_TENANT.into()))
        })
    }

    /// Makes a tenant. Its number is never given again.
    pub async fn create_tenant(&self, by: &Principal, name: &str) -> Result<TenantInfo, Error> {
        if !by.may(Permission { verb: Verb::Operate, signal: None }) {
            return Err(Error::forbidden("only an admin of the default tenant makes tenants"));
        }
        if !is_tenant_name(name) {
            let message = "name: at most 63 of a to z, 0 to 9, - and _, the first a letter or digit";
            return Err(Error::invalid(message));
        }
        let writing = self.credentials.write().await;
        let (taken, count, last) = self.credentials.with(|index| {
            let last = index.tenants().map(|tenant| tenant.id).max().unwrap_or(0);
            (index.tenant_named(name).is_some(), index.tenants().count(), last)
        });
        if taken {
            return Err(Error::Conflict { message: format!("there is a tenant {name} already") });
        }
        if count >= TENANTS_MAX {
            return Err(Error::LimitExceeded { message: format!("there are {TENANTS_MAX} tenants already") });
        }
        let record = TenantRecord { id: last + 1, name: name.to_owned(), created: self.clock.now() };
        let info = TenantInfo { id: record.id, name: record.name.clone(), created: record.created };
        writing.apply(vec![Change::Tenant(record.into())]).await?;
        Ok(info)
    }
}

/// Whether somebody could still administer the default tenant without these credentials.
fn has_admin(index: &Index, now: UnixNanos, without: &str) -> bool {
    let is_admin = |role: Role, tenant: u32| role == Role::Admin && tenant == TenantId::DEFAULT.0;
    let mut users = index.users().filter(|user| user.name != without && !user.disabled);
    let mut tokens = index.tokens().filter(|token| token.record.signals.is_all() && token.record.is_valid(now));
    users.any(|user| is_admin(user.role, user.tenant))
        || tokens.any(|token| is_admin(token.record.role, token.record.tenant) && !token.record.first)
}
