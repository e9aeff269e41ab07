//! The first start: a token by which the first admin is made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trivium_model::TenantId;

use super::has_admin;
use super::token::end_first;
use crate::audit::{Action, AuditEvent};
use crate::authenticator::Authenticator;
use crate::config::Mode;
use crate::error::Error;
use crate::role::{Role, Signals};
use crate::secret::{Digest, Secret};
use crate::store::{Change, TokenRecord};
use crate::token;

/// How long the token can be used. A later start writes another.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

impl Authenticator {
    /// When credentials are asked for and nobody could administer the server, writes an admin token to a file that only its
    /// owner can read, and answers where. The token ends with the first admin, and after a day. One of an earlier start that
    /// was not used ends now. Otherwise removes the file, should it still be there.
    pub async fn write_first_token(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        let now = self.clock.now();
        let writing = self.credentials.write().await;
        let is_needed = self.config.mode == Mode::Required && !self.credentials.with(|index| has_admin(index, now, ""));
        if !is_needed {
            return remove(path).await.map(|()| None);
        }
        let (id, secret) = token::new()?;
        let record = TokenRecord {
            hash: Digest::of(secret.reveal().as_bytes()),
            id: id.clone(),
            name: "first start".into(),
            role: Role::Admin,
            tenant: TenantId::DEFAULT.0,
            signals: Signals::ALL,
            created_by: "trivium".into(),
            created: now,
            expires: Some(now.after(LIFETIME)),
            revoked: None,
            last_used: None,
            first: true,
        };
        let mut changes = self.credentials.with(|index| end_first(index, now));
        changes.push(Change::Token(Arc::new(record)));
        writing.apply(changes).await?;
        write(path, secret).await?;
        let mut event = AuditEvent::anonymous(Action::FirstToken, "trivium", "");
        event.detail = Some(format!("token {id}"));
        self.audit.record(TenantId::DEFAULT, event);
        Ok(Some(path.to_owned()))
    }
}

async fn write(path: &Path, secret: Secret) -> Result<(), Error> {
    blocking(path, "written", move |path| {
        remove_token(path)?;
        // A new file: who has the old one open does not see the secret, and what is no token of ours is not overwritten.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", secret.reveal())?;
        file.sync_all()
    })
    .await
}

async fn remove(path: &Path) -> Result<(), Error> {
    blocking(path, "removed", remove_token).await
}

/// Removes the file if it holds a token. A wrong path in the configuration must not cost somebody a file.
fn remove_token(path: &Path) -> io::Result<()> {
    let mut start = [0; token::PREFIX.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Ok(()) if start == *token::PREFIX.as_bytes() => fs::remove_file(path),
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Err(error),
        _ => Ok(()),
    }
}

async fn blocking(
    path: &Path,
    done: &str,
    action: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> Result<(), Error> {
    let path = path.to_owned();
    let shown = path.display().to_string();
    let result = tokio::task::spawn_blocking(move || action(&path)).await;
    let result = result.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|error| {
        Error::unavailable(format!("the file of the first token, {shown}, could not be {done}: {error}"))
    })
}
