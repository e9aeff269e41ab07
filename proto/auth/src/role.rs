//! What a role may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use trivium_model::{SignalKind, TenantId};

/// What a principal is, within its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything within its tenant, tokens and users included.
    Admin,
    /// Reads, and edits rules, silences and views.
    Editor,
    /// Reads.
    Viewer,
    /// Writes telemetry and reads nothing.
    Ingest,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Editor, Self::Viewer, Self::Ingest];

    /// Its name, as configuration and API write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::Ingest => "ingest",
        }
    }

    /// Whether a principal with this role in `tenant` may do this. What is not named here is denied.
    pub const fn allows(self, verb: Verb, tenant: TenantId) -> bool {
        let of_operator = tenant.0 == TenantId::DEFAULT.0;
        match (self, verb) {
            (Self::Admin | Self::Editor | Self::Viewer, Verb::Read) => true,
            (Self::Admin | Self::Editor, Verb::Write) => true,
            (Self::Admin | Self::Ingest, Verb::Ingest) => true,
            (Self::Admin, Verb::Administer) => true,
            (Self::Admin | Self::Editor | Self::Viewer, Verb::Monitor) => of_operator,
            (Self::Admin, Verb::Operate) => of_operator,
            _ => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("{text:?} is not a role; there are admin, editor, viewer and ingest"))
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads telemetry, rules, alerts of the tenant.
    Read,
    /// Edits rules, silences, views of the tenant.
    Write,
    /// Sends telemetry.
    Ingest,
    /// Manages the tenant's tokens and users, reads its audit log.
    Administer,
    /// Reads what concerns the whole process, such as its own metrics. For the default tenant, whose people run the server.
    Monitor,
    /// Does what concerns the whole process: flush, reload, tenants. For admins of the default tenant.
    Operate,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Ingest, Self::Administer, Self::Monitor, Self::Operate];

    /// Its name, for messages and the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Ingest => "ingest",
            Self::Administer => "administer",
            Self::Monitor => "monitor",
            Self::Operate => "operate",
        }
    }
}

/// Which signals a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Signals(u8);

impl Signals {
    /// All of them.
    pub const ALL: Self = Self(0b111);

    /// Only these.
    pub fn only(kinds: impl IntoIterator<Item = SignalKind>) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | bit(kind)))
    }

    /// Whether this one is among them.
    pub fn contains(self, kind: SignalKind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// Whether none was left out.
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }
}

const fn bit(kind: SignalKind) -> u8 {
    match kind {
        SignalKind::Logs => 1,
        SignalKind::Metrics => 2,
        SignalKind::Traces => 4,
    }
}

impl From<Signals> for Vec<String> {
    fn from(signals: Signals) -> Self {
        SignalKind::ALL.into_iter().filter(|kind| signals.contains(*kind)).map(|kind| kind.to_string()).collect()
    }
}

impl TryFrom<Vec<String>> for Signals {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let kinds = names.iter().map(|name| {
            let found = SignalKind::ALL.into_iter().find(|kind| kind.to_string() == *name);
            found.ok_or_else(|| format!("{name:?} is not a signal; there are logs, metrics and traces"))
        });
        let signals = Self::only(kinds.collect::<Result<Vec<_>, _>>()?);
        if signals.0 == 0 {
            return Err("signals: name at least one of logs, metrics and traces, or leave it out for all".into());
        }
        Ok(signals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every role, every verb, the operators' tenant and another: what is expected is written out, so that a change of
    /// the rules is a change of this table.
    #[test]
    fn who_may_do_what() {
        let other = TenantId(7);
        // Read, Write, Ingest, Administer, Monitor, Operate.
        let expected = [
            (Role::Admin, TenantId::DEFAULT, [true, true, true, true, true, true]),
            (Role::Editor, TenantId::DEFAULT, [true, true, false, false, true, false]),
            (Role::Viewer, TenantId::DEFAULT, [true, false, false, false, true, false]),
            (Role::Ingest, TenantId::DEFAULT, [false, false, true, false, false, false]),
            (Role::Admin, other, [true, true, true, true, false, false]),
            (Role::Editor, other, [true, true, false, false, false, false]),
            (Role::Viewer, other, [true, false, false, false, false, false]),
            (Role::Ingest, other, [false, false, true, false, false, false]),
        ];
        for (role, tenant, row) in expected {
            for (verb, expected) in Verb::ALL.into_iter().zip(row) {
                assert_eq!(role.allows(verb, tenant), expected, "{role} {verb:?} in tenant {tenant}");
            }
        }
    }

    #[test]
    fn signals_are_written_as_names() {
        let logs: Signals = serde_json::from_str(r#"["logs"]"#).expect("a signal");
        assert!(logs.contains(SignalKind::Logs) && !logs.contains(SignalKind::Traces) && !logs.is_all());
        assert_eq!(serde_json::to_string(&Signals::ALL).expect("JSON"), r#"["logs","metrics","traces"]"#);
        for wrong in ["[]", r#"["profiles"]"#] {
            assert!(serde_json::from_str::<Signals>(wrong).is_err(), "{wrong}");
        }
    }
}
