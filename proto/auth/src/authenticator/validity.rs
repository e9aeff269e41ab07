//! Whether what a request was let in by would still let it in.

use std::sync::Arc;

use trivium_model::UnixNanos;

use super::Authenticator;
use crate::principal::Principal;
use crate::secret::Digest;
use crate::store::{Token, UserRecord};

/// By what a principal was found.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// By nothing: nobody is asked.
    Open,
    /// By this token as it was.
    Token(Arc<Token>),
    /// By the password of this user as it was.
    Password(Arc<UserRecord>),
    /// By a cookie with this hash.
    Session(Digest),
    /// By a web token that is taken until this time.
    Jwt(UnixNanos),
}

/// A principal, and by what it was found.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Arc<Principal>,
    pub(crate) proof: Proof,
}

/// Whether the credential of a request is still good, for answers that go on for long: [`crate::AuthLayer`] looks at a request
/// once, when it comes. In the extensions of requests to the API whose sender is known.
#[derive(Clone, Debug)]
pub(crate) struct Validity {
    authenticator: Arc<Authenticator>,
    identity: Identity,
}

impl Validity {
    pub(crate) fn new(authenticator: Arc<Authenticator>, identity: Identity) -> Self {
        Self { authenticator, identity }
    }
}

impl trivium_model::Validity for Validity {
    /// Whether the same credential would be the same principal now. Not any more once the token was revoked or has expired, the
    /// session was logged out or has ended, the user was disabled, deleted or given another role, or another password if it
    /// had sent that: what such a sender may see is decided when it asks again. A web token is good until it expires, since
    /// nobody can take it back. Without credentials (open mode) it is always.
    ///
    /// Costs a look-up in memory and waits for nothing but a change that is being made there. To ask is not to use: no session
    /// becomes longer by it.
    fn is_good(&self) -> bool {
        let Self { authenticator, identity: Identity { principal, proof } } = self;
        let now = authenticator.clock.now();
        match proof {
            Proof::Open => true,
            Proof::Token(known) => {
                let token = authenticator.credentials.with(|index| index.token(&known.record.id));
                token.is_some_and(|token| token.record.is_valid(now))
            }
            Proof::Password(known) => {
                let user = authenticator.credentials.with(|index| index.user(&known.name));
                user.is_some_and(|user| user == *known)
            }
            Proof::Session(hash) => {
                let found = authenticator.session_of(hash, now);
                found.is_ok_and(|(_, found)| found == **principal)
            }
            Proof::Jwt(until) => now < *until,
        }
    }
}
