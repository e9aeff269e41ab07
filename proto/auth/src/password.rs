//! Passwords, as argon2id keeps them. At most two are hashed at a time, and few may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::PasswordCost;
use crate::error::Error;
use crate::secret::{Secret, fill};

/// Hashes at once: each takes a core and tens of MiB, of which ingest must not run short.
const CONCURRENT: usize = 2;

/// Requests that wait for one of them; more are told to come again.
const WAITING_MAX: usize = 32;

/// Characters of a password that is set. Length is all that is asked, as NIST SP 800-63B has it.
const CHARS_MIN: usize = 10;

/// Bytes of a password: more are no password but work for us.
const BYTES_MAX: usize = 1024;

/// What a stored hash may make us spend, should the store be damaged.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;

/// What is kept of a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    salt: String,
    hash: String,
}

/// Hashes passwords.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    cost: PasswordCost,
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Counts one that waits, for as long as it waits.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Self {
        Self { cost, permits: Arc::new(Semaphore::new(CONCURRENT)), waiting: Arc::default() }
    }

    /// What to keep of a new password.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<PasswordHash, Error> {
        check_new(password)?;
        let mut salt = [0; 16];
        fill(&mut salt)?;
        let cost = self.cost;
        let hash = self.run(password.clone(), salt.to_vec(), cost).await?;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        Ok(PasswordHash { memory_kib: cost.memory_kib, passes: cost.passes, salt, hash })
    }

    /// Whether the password is the kept one. With nothing kept it takes as long and is not: how long an answer takes must
    /// not tell which names exist.
    pub(crate) async fn verify(&self, password: &Secret, kept: Option<&PasswordHash>) -> Result<bool, Error> {
        if password.reveal().len() > BYTES_MAX {
            return Ok(false);
        }
        let (cost, salt, expected) = match kept.and_then(PasswordHash::decode) {
            Some((cost, salt, expected)) => (cost, salt, Some(expected)),
            None => (self.cost, vec![0; 16], None),
        };
        let found = self.run(password.clone(), salt, cost).await?;
        Ok(expected.is_some_and(|expected| expected.ct_eq(&found).into()))
    }

    async fn run(&self, password: Secret, salt: Vec<u8>, cost: PasswordCost) -> Result<[u8; 32], Error> {
        let waiting = Waiting(Arc::clone(&self.waiting));
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= WAITING_MAX {
            return Err(Error::unavailable("too many passwords are being checked at the moment"));
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::unavailable("the server is stopping"))?;
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a client that goes away must not let more than two run.
            let _held = (permit, waiting);
            derive(password.reveal().as_bytes(), &salt, cost)
        });
        task.await.map_err(|_| Error::unavailable("hashing a password was interrupted"))?
    }
}

fn derive(password: &[u8], salt: &[u8], cost: PasswordCost) -> Result<[u8; 32], Error> {
    let failed = |error: argon2::Error| Error::unavailable(format!("a password could not be hashed: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).map_err(failed)?;
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    argon2.hash_password_into_with_memory(password, salt, &mut hash, &mut memory).map_err(failed)?;
    Ok(hash)
}

impl PasswordHash {
    fn decode(&self) -> Option<(PasswordCost, Vec<u8>, Vec<u8>)> {
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX {
            return None;
        }
        let salt = STANDARD_NO_PAD.decode(&self.salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(&self.hash).ok()?;
        Some((PasswordCost { memory_kib: self.memory_kib, passes: self.passes }, salt, hash))
    }
}

/// Refuses a password that is too short to be one.
pub(crate) fn check_new(password: &Secret) -> Result<(), Error> {
    let (chars, bytes) = (password.reveal().chars().count(), password.reveal().len());
    if chars < CHARS_MIN || bytes > BYTES_MAX {
        let message = format!("a password has at least {CHARS_MIN} characters and at most {BYTES_MAX} bytes");
        return Err(Error::invalid(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1 };

    #[tokio::test]
    async fn a_password_is_known_again_and_others_are_not() {
        let passwords = Passwords::new(CHEAP);
        let right = Secret::new("correct horse battery");
        let kept = passwords.hash(&right).await.expect("a hash");
        assert!(passwords.verify(&right, Some(&kept)).await.expect("an answer"));
        for wrong in ["", "correct horse batterz", "correct horse battery "] {
            assert!(!passwords.verify(&Secret::new(wrong), Some(&kept)).await.expect("an answer"), "{wrong:?}");
        }
        assert!(!passwords.verify(&right, None).await.expect("an answer"), "nobody has this password");
        let again = passwords.hash(&right).await.expect("a hash");
        assert_ne!(kept, again, "every hash has its own salt");
    }

    /// The vector of RFC 9106 has a key and associated data, which we do not use; this one is from the reference
    /// implementation: `argon2 somesalt -id -t 2 -m 16 -p 1 -l 32` of `password`.
    #[test]
    fn it_is_argon2id_as_others_have_it() {
        let cost = PasswordCost { memory_kib: 65536, passes: 2 };
        let hash = derive(b"password", b"somesalt", cost).expect("a hash");
        let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[tokio::test]
    async fn short_and_huge_passwords_are_refused_before_any_work() {
        let passwords = Passwords::new(CHEAP);
        for wrong in ["123456789".to_owned(), "é".repeat(600)] {
            assert!(passwords.hash(&Secret::new(wrong)).await.is_err());
        }
        let long = Secret::new("x".repeat(BYTES_MAX + 1));
        assert_eq!(passwords.verify(&long, None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_damaged_hash_costs_nothing_and_matches_nothing() {
        let passwords = Passwords::new(CHEAP);
        let right = Secret::new("correct horse battery");
        let mut kept = passwords.hash(&right).await.expect("a hash");
        kept.memory_kib = u32::MAX;
        assert_eq!(passwords.verify(&right, Some(&kept)).await, Ok(false));
    }

    #[tokio::test]
    async fn more_than_a_few_are_told_to_come_again() {
        let passwords = Passwords::new(CHEAP);
        // Both permits are taken: whoever comes now waits.
        let taken = passwords.permits.acquire_many(2).await.expect("permits");
        let secret = Secret::new("correct horse battery");
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(passwords.verify(&secret, None))).collect();
        for future in &mut waiting {
            assert!(futures_poll(future).is_pending());
        }
        let refused = passwords.verify(&secret, None).await.expect_err("one too many");
        assert!(refused.retry_after().is_some(), "{refused:?}");
        drop(waiting);
        drop(taken);
        assert_eq!(passwords.verify(&secret, None).await, Ok(false), "places are given back");
    }

    fn futures_poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> std::task::Poll<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut context)
    }
}
