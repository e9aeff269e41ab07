use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trivium_model::{TenantId, UnixNanos};

use super::label;
use crate::authenticator::Authenticator;
use crate::error::Error;
use crate::principal::Principal;
use crate::role::{Role, Signals};
use crate::secret::{Digest, Secret};
use crate::store::{Change, Index, TOKENS_MAX, TOKENS_PER_TENANT_MAX, TokenRecord, nanos, optional_nanos};
use crate::token;

/// The longest time after which a token may expire.
const LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose it is; the caller's tenant without.
    pub tenant: Option<String>,
    /// For which signals; all without.
    pub signals: Option<Signals>,
    /// After how many seconds it ends; never without.
    pub expires_in_seconds: Option<u64>,
}

/// A token, for people, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenInfo {
    /// Its public part.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose it is.
    pub tenant: String,
    /// For which signals.
    pub signals: Signals,
    /// Who made it.
    pub created_by: String,
    /// When, in nanoseconds since 1970, as all times here.
    #[serde(with = "nanos")]
    pub created: UnixNanos,
    /// When it ends.
    #[serde(with = "optional_nanos")]
    pub expires: Option<UnixNanos>,
    /// When it was ended.
    #[serde(with = "optional_nanos")]
    pub revoked: Option<UnixNanos>,
    /// When it was last used.
    #[serde(with = "optional_nanos")]
    pub last_used: Option<UnixNanos>,
    /// Whether it can be used.
    pub valid: bool,
}

impl Authenticator {
    /// Makes a token. Its secret is in the answer and nowhere else.
    pub async fn create_token(&self, by: &Principal, new: NewToken) -> Result<(TokenInfo, Secret), Error> {
        let tenant = self.administered(by, new.tenant.as_deref())?;
        let (name, now) = (label(&new.name)?, self.clock.now());
        let expires = match new.expires_in_seconds.map(Duration::from_secs) {
            Some(lifetime) if lifetime.is_zero() || lifetime > LIFETIME_MAX => {
                return Err(Error::invalid(
                    "expires_in_seconds: more than zero and at most ten years; leave it out for never",
                ));
            }
            lifetime => lifetime.map(|lifetime| now.after(lifetime)),
        };
        let (id, secret) = token::new()?;
        let record = Arc::new(TokenRecord {
            hash: Digest::of(secret.reveal().as_bytes()),
            id,
            name,
            role: new.role,
            tenant: tenant.0,
            signals: new.signals.unwrap_or(Signals::ALL),
            created_by: by.name.to_string(),
            created: now,
            expires,
            revoked: None,
            last_used: None,
            first: false,
        });
        let writing = self.credentials.write().await;
        let forgotten = self.credentials.with(|index| to_make_room(index, tenant, now))?;
        let mut changes = vec![Change::Token(Arc::clone(&record))];
        if new.role == Role::Admin && tenant == TenantId::DEFAULT && record.signals.is_all() {
            changes.extend(self.credentials.with(|index| end_first(index, now)));
        }
        // Last: it may be the token of the first start, which the line above would keep.
        changes.extend(forgotten.map(Change::ForgetToken));
        writing.apply(changes).await?;
        Ok((self.credentials.with(|index| info(index, &record, None, now)), secret))
    }

    /// The tokens that the caller may administer, the newest first.
    pub fn tokens(&self, by: &Principal) -> Vec<TokenInfo> {
        let now = self.clock.now();
        let mut tokens: Vec<TokenInfo> = self.credentials.with(|index| {
            let visible = index.tokens().filter(|token| by.may_administer(TenantId(token.record.tenant)));
            visible.map(|token| info(index, &token.record, token.last_used(), now)).collect()
        });
        tokens.sort_by(|left, right| (right.created, &right.id).cmp(&(left.created, &left.id)));
        tokens
    }

    /// Ends a token: the next request with it is refused.
    pub async fn revoke_token(&self, by: &Principal, id: &str) -> Result<TokenInfo, Error> {
        let writing = self.credentials.write().await;
        let now = self.clock.now();
        let found = self.credentials.with(|index| index.token(id));
        let token = found.filter(|token| by.may_administer(TenantId(token.record.tenant)));
        let token = token.ok_or_else(|| Error::not_found("there is no such token"))?;
        if token.record.revoked.is_some() {
            return Ok(self.credentials.with(|index| info(index, &token.record, token.last_used(), now)));
        }
        let record =
            Arc::new(TokenRecord { revoked: Some(now), last_used: token.last_used(), ..(*token.record).clone() });
        writing.apply(vec![Change::Token(Arc::clone(&record))]).await?;
        Ok(self.credentials.with(|index| info(index, &record, record.last_used, now)))
    }
}

/// The changes that end the tokens of the first start.
pub(super) fn end_first(index: &Index, now: UnixNanos) -> Vec<Change> {
    let first = index.tokens().filter(|token| token.record.first && token.record.revoked.is_none());
    first.map(|token| Change::Token(Arc::new(TokenRecord { revoked: Some(now), ..(*token.record).clone() }))).collect()
}

/// The token whose place a new one takes when there is no other: of those that cannot be used any more, which are kept to be
/// listed and for nothing else, the one that ended first.
fn to_make_room(index: &Index, tenant: TenantId, now: UnixNanos) -> Result<Option<String>, Error> {
    let own = index.tokens().filter(|token| token.record.tenant == tenant.0).count();
    let is_tenant_full = tenant != TenantId::DEFAULT && own >= TOKENS_PER_TENANT_MAX;
    if !is_tenant_full && index.tokens().count() < TOKENS_MAX {
        return Ok(None);
    }
    let candidates = index.tokens().filter(|token| !is_tenant_full || token.record.tenant == tenant.0);
    let ended = candidates.filter_map(|token| Some((token.record.ended(now)?, &token.record.id)));
    let first = ended.min().map(|(_, id)| id.clone());
    first.map(Some).ok_or_else(|| {
        let (whose, count) =
            if is_tenant_full { ("the tenant has", TOKENS_PER_TENANT_MAX) } else { ("there are", TOKENS_MAX) };
        Error::LimitExceeded { message: format!("{whose} {count} valid tokens already; revoke those that nobody uses") }
    })
}

fn info(index: &Index, record: &TokenRecord, last_used: Option<UnixNanos>, now: UnixNanos) -> TokenInfo {
    TokenInfo {
        id: record.id.clone(),
        name: record.name.clone(),
        role: record.role,
        tenant: index.tenant_name(TenantId(record.tenant)).to_string(),
        signals: record.signals,
        created_by: record.created_by.clone(),
        created: record.created,
        expires: record.expires,
        revoked: record.revoked,
        last_used,
        valid: record.is_valid(now),
    }
}
