//! Sessions of browsers: short-lived, prolonged by use, kept as hashes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use trivium_model::UnixNanos;

use super::{Authenticator, Identity, Proof};
use crate::audit::{Action, AuditEvent};
use crate::cookie;
use crate::error::Error;
use crate::principal::{How, Principal};
use crate::secret::{Digest, SECRET_CHARS, Secret, random_text};
use crate::store::{
    Change, SESSIONS_MAX, SESSIONS_PER_PERSON_MAX, Session, SessionOf, SessionRecord, TokenRecord, UserRecord,
};
use crate::telemetry::{Credential, Denied, LoginBy, Outcome};

/// How far what is on disk of the last use may be behind.
const USE_KEPT_EVERY: Duration = Duration::from_secs(60);

/// How long a token that ended is still listed.
const ENDED_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Changes of one transaction.
const BATCH: usize = 256;

/// Time between two rounds of [`Authenticator::maintain`].
const MAINTAIN_EVERY: Duration = Duration::from_secs(15);

/// Whom a session is begun for.
#[derive(Debug)]
pub(crate) enum Entrant {
    /// A user, by the password of this record.
    User(Arc<UserRecord>),
    /// Somebody whose name and rights a provider told.
    Provider {
        /// The name.
        name: String,
        /// The rights.
        who: SessionOf,
    },
}

impl Authenticator {
    /// Verifies name and password and begins a session. The cookie is for the answer.
    pub(crate) async fn login(
        &self,
        name: &str,
        password: &Secret,
        address: Option<IpAddr>,
        replaced: Option<Secret>,
    ) -> Result<(Principal, HeaderValue), Error> {
        let begun = match self.by_password(name, password, address, How::Session).await {
            Ok((principal, user)) => {
                let cookie = self.begin_session(Entrant::User(user), replaced).await;
                cookie.map(|cookie| (principal, cookie))
            }
            Err(error) => Err(error),
        };
        self.metrics.login(LoginBy::Password, &begun);
        match &begun {
            Ok((principal, _)) => self.audit_login(Some(principal), name, address, "password"),
            Err(error) => self.audit_login(None, name, address, &error.to_string()),
        }
        begun
    }

    pub(crate) fn audit_login(&self, who: Option<&Principal>, name: &str, address: Option<IpAddr>, detail: &str) {
        let target = "POST /api/v1/auth/login";
        let mut event = match who {
            Some(principal) => AuditEvent::of(Action::Login, principal, target),
            None => AuditEvent::anonymous(Action::Login, name, target),
        };
        event.address = address;
        event.detail = Some(crate::audit::shorten(detail));
        match who {
            Some(principal) => self.audit.record(principal.tenant, event),
            None => {
                event.outcome = "denied".into();
                let user = self.credentials.with(|index| index.user(&name.to_ascii_lowercase()));
                let tenant = user.map_or(0, |user| user.tenant);
                self.audit.denied(trivium_model::TenantId(tenant), event);
            }
        }
    }

    /// Begins a session with a value that nobody has seen before. The one that the browser had ends.
    pub(crate) async fn begin_session(&self, entrant: Entrant, replaced: Option<Secret>) -> Result<HeaderValue, Error> {
        let (secret, now) = (random_text(SECRET_CHARS)?, self.clock.now());
        let hash = Digest::of(secret.as_bytes());
        let writing = self.credentials.write().await;
        let (name, who) = self.look_again(entrant)?;
        let record = SessionRecord { hash, name, who, created: now, seen: now };
        let mut changes = self.sessions_to_make_room(&record)?;
        if let Some(replaced) = replaced {
            changes.push(Change::ForgetSession(Digest::of(replaced.reveal().as_bytes())));
        }
        changes.push(Change::Session(Arc::new(record)));
        writing.apply(changes).await?;
        let seconds = self.config.session_lifetime.as_secs();
        let cookie = self.cookies.set(self.cookies.session, &secret, seconds, "Strict");
        cookie.ok_or_else(|| Error::unavailable("the session cookie could not be made"))
    }

    /// Whose session it is to be. To be called while nothing else can change: hashing a password takes long enough for somebody
    /// to change or disable the user meanwhile, which ends the sessions that there are and must not miss this one.
    fn look_again(&self, entrant: Entrant) -> Result<(String, SessionOf), Error> {
        match entrant {
            Entrant::Provider { name, who } => Ok((name, who)),
            Entrant::User(verified) => {
                let user = self.credentials.with(|index| index.user(&verified.name));
                let user = user.filter(|user| *user == verified).ok_or_else(|| Error::Unauthenticated {
                    message: "the user was changed during the login; log in again".into(),
                })?;
                Ok((user.name.clone(), SessionOf::User))
            }
        }
    }

    /// Who has too many sessions loses the one used least recently; the others keep theirs, namesakes too.
    fn sessions_to_make_room(&self, new: &SessionRecord) -> Result<Vec<Change>, Error> {
        let (total, mut own) = self.credentials.with(|index| {
            let own: Vec<_> = index
                .sessions()
                .filter(|session| session.record.is_of_same_person(new))
                .map(|one| (one.seen(), one.record.hash))
                .collect();
            (index.sessions().count(), own)
        });
        if own.len() >= SESSIONS_PER_PERSON_MAX {
            own.sort();
            let too_many = own.len() + 1 - SESSIONS_PER_PERSON_MAX;
            return Ok(own.into_iter().take(too_many).map(|(_, hash)| Change::ForgetSession(hash)).collect());
        }
        if total < SESSIONS_MAX {
            return Ok(Vec::new());
        }
        let expired = self.expired_sessions(new.created);
        if expired.is_empty() {
            return Err(Error::unavailable(format!("there are {SESSIONS_MAX} sessions already")));
        }
        Ok(expired)
    }

    fn expired_sessions(&self, now: UnixNanos) -> Vec<Change> {
        self.credentials.with(|index| {
            let expired = index.sessions().filter(|session| !self.is_live(session, now));
            expired.map(|session| Change::ForgetSession(session.record.hash)).collect()
        })
    }

    pub(super) fn is_live(&self, session: &Session, now: UnixNanos) -> bool {
        now.since(session.seen()) < self.config.session_idle
            && now.since(session.record.created) < self.config.session_lifetime
    }

    /// Whether whoever vouched for a session is still asked. A provider that was taken out of the configuration is not.
    fn is_believed(&self, who: &SessionOf) -> bool {
        match who {
            SessionOf::User => true,
            SessionOf::Provider { issuer, .. } => self.oidc.as_ref().is_some_and(|oidc| oidc.config.issuer == *issuer),
        }
    }

    pub(super) fn by_cookie(&self, headers: &HeaderMap) -> (Credential, Result<Identity, Denied>) {
        let Some(secret) = cookie::find(headers, self.cookies.session) else {
            return (Credential::None, Err(Error::missing_credentials().into()));
        };
        let hash = Digest::of(secret.reveal().as_bytes());
        let now = self.clock.now();
        let result = match self.session_of(&hash, now) {
            Ok((session, principal)) => {
                session.mark_seen(now);
                Ok(Identity { principal: Arc::new(principal), proof: Proof::Session(hash) })
            }
            Err(outcome) => {
                let error = Error::Unauthenticated { message: "the session has ended; log in again".into() };
                Err(Denied { outcome, error })
            }
        };
        (Credential::Session, result)
    }

    /// The session of a cookie with this hash, and whose it is.
    pub(super) fn session_of(&self, hash: &Digest, now: UnixNanos) -> Result<(Arc<Session>, Principal), Outcome> {
        self.credentials.with(|index| {
            let session = index.session(hash).ok_or(Outcome::Invalid)?;
            let has_ended = !self.is_live(&session, now) || !self.is_believed(&session.record.who);
            let principal = index.principal_of_session(&session.record).filter(|_| !has_ended);
            Ok((session, principal.ok_or(Outcome::Expired)?))
        })
    }

    /// Ends the session of these headers, if there is one, and answers the cookie that has the browser forget it.
    pub(crate) async fn end_session(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Error> {
        if let Some(secret) = cookie::find(headers, self.cookies.session) {
            let writing = self.credentials.write().await;
            writing.apply(vec![Change::ForgetSession(Digest::of(secret.reveal().as_bytes()))]).await?;
        }
        Ok(self.cookies.forget(self.cookies.session))
    }

    /// Keeps when credentials were last used, forgets those that ended long ago, and writes what waits of the audit log. To
    /// be called every few seconds and once at the end.
    pub async fn maintain(&self) -> Result<(), Error> {
        let now = self.clock.now();
        self.count(now);
        self.audit.flush().await?;
        loop {
            let writing = self.credentials.write().await;
            let changes = self.due(now);
            if changes.is_empty() {
                return Ok(());
            }
            writing.apply(changes).await?;
        }
    }

    /// The changes that time has brought, as many as fit a transaction. None is due any more once it is made.
    fn due(&self, now: UnixNanos) -> Vec<Change> {
        let mut changes = self.expired_sessions(now);
        self.credentials.with(|index| {
            let live = index.sessions().filter(|session| self.is_live(session, now));
            let used = live.filter(|session| session.seen().since(session.record.seen) >= USE_KEPT_EVERY);
            let records = used.map(|session| SessionRecord { seen: session.seen(), ..(*session.record).clone() });
            changes.extend(records.map(|record| Change::Session(Arc::new(record))));
            changes.extend(index.tokens().filter_map(|token| kept(token, now)));
        });
        changes.truncate(BATCH);
        changes
    }

    /// Calls [`Authenticator::maintain`] until `stop` completes, and once more then.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let stopped = tokio::select! {
                () = &mut stop => true,
                () = tokio::time::sleep(MAINTAIN_EVERY) => false,
            };
            if let Err(error) = self.maintain().await {
                tracing::warn!(%error, "the state of credentials was not kept; the next round tries again");
            }
            if stopped {
                return;
            }
        }
    }
}

/// What is to be kept of a token that was used or ended.
fn kept(token: &crate::store::Token, now: UnixNanos) -> Option<Change> {
    let record = &token.record;
    if record.ended(now).is_some_and(|ended| now.since(ended) >= ENDED_KEPT) {
        return Some(Change::ForgetToken(record.id.clone()));
    }
    let used = token.last_used()?;
    let is_behind = record.last_used.is_none_or(|kept| used.since(kept) >= USE_KEPT_EVERY);
    is_behind.then(|| Change::Token(Arc::new(TokenRecord { last_used: Some(used), ..(**record).clone() })))
}
