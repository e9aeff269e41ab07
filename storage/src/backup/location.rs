use std::collections::BTreeMap;
use std::path::PathBuf;

use super::objects::{Objects, open_s3};
use super::refused;
use crate::error::Error;

/// Where backups lie.
#[derive(Clone, Debug)]
pub struct Location(pub(super) Place);

#[derive(Clone, Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Objects(Objects),
}

impl Location {
    /// A folder.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self(Place::Folder(path.into()))
    }

    /// A folder by its path, or `s3://BUCKET/PREFIX` with credentials, region and endpoint from the variables `AWS_...` of an
    /// environment or from the file that the tools of AWS share.
    pub fn parse(text: &str, environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        match text.split_once("://") {
            None => Ok(Self::folder(text)),
            Some(("s3", _)) => open_s3(text, environment).map(|objects| Self(Place::Objects(objects))),
            Some((scheme, _)) => Err(refused(format!(
                "backups go to folders and to s3://BUCKET/PREFIX, not to {scheme}://; for another service give its S3 address in \
                 AWS_ENDPOINT_URL, or have a backup folder carried there by any tool that copies files: parts/ first, snapshots/ last"
            ))),
        }
    }

    #[cfg(test)]
    pub(super) fn objects(objects: Objects) -> Self {
        Self(Place::Objects(objects))
    }
}
