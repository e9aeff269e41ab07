use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trivium_model::{TenantId, UnixNanos};

use super::token::end_first;
use super::{has_admin, user_name};
use crate::authenticator::Authenticator;
use crate::error::Error;
use crate::principal::{How, Principal};
use crate::role::Role;
use crate::secret::Secret;
use crate::store::{Change, Index, SessionOf, USERS_MAX, USERS_PER_TENANT_MAX, UserRecord, nanos};

/// A user to be made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// By which it logs in: unique over all tenants, not case-sensitive.
    pub name: String,
    /// Its first password.
    pub password: Secret,
    /// What it may do.
    pub role: Role,
    /// Whose it is; the caller's tenant without.
    pub tenant: Option<String>,
}

/// What to change of a user. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// Another role.
    pub role: Option<Role>,
    /// Another password.
    pub password: Option<Secret>,
    /// Whether it can log in.
    pub disabled: Option<bool>,
}

/// A user, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserInfo {
    /// By which it logs in.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose it is.
    pub tenant: String,
    /// Whether it cannot log in.
    pub disabled: bool,
    /// Since when, in nanoseconds since 1970.
    #[serde(with = "nanos")]
    pub created: UnixNanos,
}

impl Authenticator {
    /// Makes a user.
    pub async fn create_user(&self, by: &Principal, new: NewUser) -> Result<UserInfo, Error> {
        let tenant = self.administered(by, new.tenant.as_deref())?;
        let name = user_name(&new.name)
            .ok_or_else(|| Error::invalid("name: 1 to 128 letters, digits and the characters . _ @ + -"))?;
        // A person is no sender: its password would lie about in configuration files.
        if new.role == Role::Ingest {
            return Err(Error::invalid("role: what sends telemetry has a token with the role ingest, not a user"));
        }
        let (password, now) = (self.passwords.hash(&new.password).await?, self.clock.now());
        let user = UserRecord { name, role: new.role, tenant: tenant.0, password, disabled: false, created: now };
        let writing = self.credentials.write().await;
        self.credentials.with(|index| check_room(index, &user))?;
        let mut changes = vec![Change::User(Arc::new(user.clone()))];
        if user.role == Role::Admin && tenant == TenantId::DEFAULT {
            changes.extend(self.credentials.with(|index| end_first(index, now)));
        }
        writing.apply(changes).await?;
        Ok(self.credentials.with(|index| info(index, &user)))
    }

    /// The users that the caller may administer, by name.
    pub fn users(&self, by: &Principal) -> Vec<UserInfo> {
        self.credentials.with(|index| {
            let visible = index.users().filter(|user| by.may_administer(TenantId(user.tenant)));
            visible.map(|user| info(index, user)).collect()
        })
    }

    /// Changes a user. With another password, or disabled, its sessions end; another role counts from the next request on.
    pub async fn change_user(&self, by: &Principal, name: &str, change: UserChange) -> Result<UserInfo, Error> {
        // Whoever may not, and names that are not there, must not cost the hashing of a password.
        self.user_of(by, name)?;
        let password = match &change.password {
            Some(password) => Some(self.passwords.hash(password).await?),
            None => None,
        };
        if change.role == Some(Role::Ingest) {
            return Err(Error::invalid("role: what sends telemetry has a token with the role ingest, not a user"));
        }
        let writing = self.credentials.write().await;
        let user = self.user_of(by, name)?;
        let ends_sessions = password.is_some() || change.disabled == Some(true);
        let changed = UserRecord {
            role: change.role.unwrap_or(user.role),
            password: password.unwrap_or_else(|| user.password.clone()),
            disabled: change.disabled.unwrap_or(user.disabled),
            ..(*user).clone()
        };
        if changed.role != Role::Admin || changed.disabled {
            self.keep_an_admin(&user)?;
        }
        let mut changes = if ends_sessions { self.sessions_of(&user.name) } else { Vec::new() };
        changes.push(Change::User(Arc::new(changed.clone())));
        writing.apply(changes).await?;
        Ok(self.credentials.with(|index| info(index, &changed)))
    }

    /// Forgets a user and ends its sessions.
    pub async fn delete_user(&self, by: &Principal, name: &str) -> Result<(), Error> {
        let writing = self.credentials.write().await;
        let user = self.user_of(by, name)?;
        self.keep_an_admin(&user)?;
        let mut changes = self.sessions_of(&user.name);
        changes.push(Change::ForgetUser(user.name.clone()));
        writing.apply(changes).await
    }

    /// Changes the caller's own password. All its sessions end, this one too.
    pub async fn change_password(
        &self,
        by: &Principal,
        current: &Secret,
        new: &Secret,
        address: Option<IpAddr>,
    ) -> Result<(), Error> {
        if !matches!(by.how, How::Session | How::Password) {
            return Err(Error::forbidden("only who logged in with a password has one to change"));
        }
        let verified = self.by_password(&by.name, current, address, How::Session).await;
        let (_, verified) = verified.map_err(|error| match error {
            Error::Unauthenticated { .. } => Error::forbidden("the current password is wrong"),
            other => other,
        })?;
        let password = self.passwords.hash(new).await?;
        let writing = self.credentials.write().await;
        let user = self.credentials.with(|index| index.user(&by.name)).filter(|user| user.tenant == by.tenant.0);
        let user = user.ok_or_else(|| Error::not_found("the user is gone"))?;
        // Hashing takes long enough for an admin to set another password, which whoever knows the old one must not undo.
        if user != verified {
            return Err(Error::Conflict { message: "the user was changed meanwhile; log in again".into() });
        }
        let mut changes = self.sessions_of(&user.name);
        changes.push(Change::User(Arc::new(UserRecord { password, ..(*user).clone() })));
        writing.apply(changes).await
    }

    fn user_of(&self, by: &Principal, name: &str) -> Result<Arc<UserRecord>, Error> {
        let name = user_name(name).unwrap_or_default();
        let user = self.credentials.with(|index| index.user(&name));
        let user = user.filter(|user| by.may_administer(TenantId(user.tenant)));
        user.ok_or_else(|| Error::not_found("there is no such user"))
    }

    /// Refuses what would leave nobody to administer the server.
    fn keep_an_admin(&self, user: &UserRecord) -> Result<(), Error> {
        let is_admin = user.role == Role::Admin && user.tenant == TenantId::DEFAULT.0 && !user.disabled;
        let now = self.clock.now();
        if is_admin && !self.credentials.with(|index| has_admin(index, now, &user.name)) {
            let message = format!("{} is the last admin of the default tenant; make another one first", user.name);
            return Err(Error::Conflict { message });
        }
        Ok(())
    }

    fn sessions_of(&self, name: &str) -> Vec<Change> {
        self.credentials.with(|index| {
            let own = index.sessions().filter(|one| one.record.name == name && one.record.who == SessionOf::User);
            own.map(|session| Change::ForgetSession(session.record.hash)).collect()
        })
    }
}

/// Refuses a user whose name is taken, and one too many.
fn check_room(index: &Index, new: &UserRecord) -> Result<(), Error> {
    if index.user(&new.name).is_some() {
        return Err(Error::Conflict { message: "there is a user of this name already".into() });
    }
    if index.users().count() >= USERS_MAX {
        return Err(Error::LimitExceeded { message: format!("there are {USERS_MAX} users already") });
    }
    let own = index.users().filter(|user| user.tenant == new.tenant).count();
    if new.tenant != TenantId::DEFAULT.0 && own >= USERS_PER_TENANT_MAX {
        let message = format!("the tenant has {USERS_PER_TENANT_MAX} users already; delete those who are gone");
        return Err(Error::LimitExceeded { message });
    }
    Ok(())
}

fn info(index: &Index, user: &UserRecord) -> UserInfo {
    UserInfo {
        name: user.name.clone(),
        role: user.role,
        tenant: index.tenant_name(TenantId(user.tenant)).to_string(),
        disabled: user.disabled,
        created: user.created,
    }
}
