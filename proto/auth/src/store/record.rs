//! What is kept, as JSON. Fields are only ever added, with a default.

use serde::{Deserialize, Serialize};
use trivium_model::{TenantId, UnixNanos};

use crate::password::PasswordHash;
use crate::role::{Role, Signals};
use crate::secret::Digest;

/// A time in nanoseconds since 1970, as it is kept.
pub(crate) mod nanos {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use trivium_model::UnixNanos;

    pub(crate) fn serialize<S: Serializer>(time: &UnixNanos, serializer: S) -> Result<S::Ok, S::Error> {
        time.0.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixNanos, D::Error> {
        i64::deserialize(deserializer).map(UnixNanos)
    }
}

pub(crate) mod optional_nanos {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use trivium_model::UnixNanos;

    pub(crate) fn serialize<S: Serializer>(time: &Option<UnixNanos>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.0).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixNanos>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(UnixNanos))
    }
}

/// An API token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    /// The public part, by which it is found and named.
    pub(crate) id: String,
    /// Of the whole token.
    pub(crate) hash: Digest,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) tenant: u32,
    pub(crate) signals: Signals,
    pub(crate) created_by: String,
    #[serde(with = "nanos")]
    pub(crate) created: UnixNanos,
    #[serde(with = "optional_nanos")]
    pub(crate) expires: Option<UnixNanos>,
    #[serde(with = "optional_nanos")]
    pub(crate) revoked: Option<UnixNanos>,
    #[serde(with = "optional_nanos")]
    pub(crate) last_used: Option<UnixNanos>,
    /// The token of the first start, which ends with the first admin.
    #[serde(default)]
    pub(crate) first: bool,
}

impl TokenRecord {
    pub(crate) fn is_valid(&self, now: UnixNanos) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Since when it cannot be used any more.
    pub(crate) fn ended(&self, now: UnixNanos) -> Option<UnixNanos> {
        let ended = [self.revoked, self.expires].into_iter().flatten().min();
        ended.filter(|ended| *ended <= now)
    }
}

/// A person with a password of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) tenant: u32,
    pub(crate) password: PasswordHash,
    #[serde(default)]
    pub(crate) disabled: bool,
    #[serde(with = "nanos")]
    pub(crate) created: UnixNanos,
}

/// A browser that logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) hash: Digest,
    pub(crate) name: String,
    pub(crate) who: SessionOf,
    #[serde(with = "nanos")]
    pub(crate) created: UnixNanos,
    #[serde(with = "nanos")]
    pub(crate) seen: UnixNanos,
}

impl SessionRecord {
    /// Whether both are sessions of one person. Names are unique among our users; a provider's are others, in each tenant, and
    /// keep being the same when their role changes.
    pub(crate) fn is_of_same_person(&self, other: &Self) -> bool {
        let is_same_kind = match (&self.who, &other.who) {
            (SessionOf::User, SessionOf::User) => true,
            (SessionOf::Provider { issuer, tenant, .. }, SessionOf::Provider { issuer: of, tenant: within, .. }) => {
                issuer == of && tenant == within
            }
            _ => false,
        };
        is_same_kind && self.name == other.name
    }
}

/// Where the rights of a session come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionOf {
    /// From the user's record, as it is at the time of each request.
    User,
    /// From what the provider said when the session began.
    Provider { issuer: String, role: Role, tenant: u32 },
}

/// A tenant besides the default one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TenantRecord {
    pub(crate) id: u32,
    pub(crate) name: String,
    #[serde(with = "nanos")]
    pub(crate) created: UnixNanos,
}

impl TenantRecord {
    pub(crate) fn tenant(&self) -> TenantId {
        TenantId(self.id)
    }
}
