//! The command line of what operators do.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 everything is as it was written, 1 it could not be checked, 2 something is not as it was \
                        written, 3 something was not and has been put right."
)]
pub(crate) struct VerifyArgs {
    /// Check a backup instead, a folder or s3://BUCKET/PREFIX: every byte of its snapshots
    #[arg(value_name = "BACKUP", conflicts_with_all = ["deep", "repair"])]
    pub(crate) backup: Option<String>,
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
    /// Also read every row and every index, and look for rows that are there twice
    #[arg(long)]
    pub(crate) deep: bool,
    /// Put right what can be: damaged parts and what belongs to nothing go to quarantine/, indexes are made anew, the intact
    /// requests of a damaged WAL are published. Nothing is deleted. The server must be stopped
    #[arg(long)]
    pub(crate) repair: bool,
    /// With --repair: parts that no catalog entry names stay when they are younger
    #[arg(long, default_value = "1h", requires = "repair", value_parser = humantime::parse_duration)]
    pub(crate) orphan_grace: std::time::Duration,
    #[command(flatten)]
    pub(crate) key_file: KeyFileArgs,
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `--help` says of S3.
const S3_HELP: &str = "S3: credentials, region and address are taken from the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, \
AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL and AWS_ALLOW_HTTP, or the keys from the file of AWS_SHARED_CREDENTIALS_FILE \
(~/.aws/credentials) and AWS_PROFILE. A backup puts the catalog and the WAL together in the temporary folder (TMPDIR) before it \
sends them.";

#[derive(Debug, Args)]
#[command(after_help = S3_HELP)]
pub(crate) struct BackupArgs {
    /// The backup folder or s3://BUCKET/PREFIX, new or of earlier backups, whose parts are not copied again
    #[arg(value_name = "DEST")]
    pub(crate) destination: String,
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
    /// Keep so many snapshots and remove older ones [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<usize>,
    /// Read the parts that are there from earlier backups, and copy those again that are damaged
    #[arg(long)]
    pub(crate) check: bool,
    /// Print what was done as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = S3_HELP)]
pub(crate) struct RestoreArgs {
    /// The backup folder or s3://BUCKET/PREFIX
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// The data folder, empty or not there
    #[arg(long, env = "TRIVIUM_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Which snapshot [default: the newest]
    #[arg(long)]
    pub(crate) snapshot: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineArgs {
    #[command(subcommand)]
    pub(crate) command: QuarantineCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List what is in quarantine. The server may be running.
    List(QuarantineListArgs),
    /// Say what of a piece is intact. The server may be running.
    Show(QuarantineItemArgs),
    /// Bring the rows of a part or a request back. The server must be stopped.
    Restore(QuarantineRestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineListArgs {
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
    /// Print the list as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineItemArgs {
    /// Its name in the list
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) key_file: KeyFileArgs,
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineRestoreArgs {
    #[command(flatten)]
    pub(crate) item: QuarantineItemArgs,
    /// Also bring back what can be decoded of a damaged part; values may be wrong
    #[arg(long)]
    pub(crate) salvage: bool,
    /// Whose rows they are, when nothing else says it; 0 without credentials
    #[arg(long)]
    pub(crate) tenant: Option<u32>,
}

/// What opens a folder with encrypted telemetry.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KeyFileArgs {
    /// Master keys, for a folder with encrypted telemetry
    #[arg(long, env = "TRIVIUM_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
}

impl KeyFileArgs {
    /// The file; an empty name is none, as in the configuration.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.encryption_key_file.clone().filter(|file| !file.as_os_str().is_empty())
    }
}

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a line with a new master key for a key file; the first line of the file is the current key.
    Generate(KeysGenerateArgs),
    /// List the keys of tenants and the master keys that they are wrapped with. The server may be running.
    List(KeysListArgs),
    /// Wrap the keys of all tenants with the first master key of the file. The server may be running, with the same file.
    Rotate(KeysRotateArgs),
    /// Erase the key of a tenant and drop its telemetry: nobody can read it any more, and nothing brings it back. The server must
    /// be stopped.
    Shred(KeysShredArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeysGenerateArgs {
    /// Its name: letters, digits, dots, dashes, underscores
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct KeysListArgs {
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
    /// Print the list as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeysRotateArgs {
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
    /// The new master key in the first line, those before it below
    #[arg(long, env = "TRIVIUM_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct KeysShredArgs {
    /// The data folder
    #[arg(long, env = "TRIVIUM_DATA_DIR", default_value = "trivium-data")]
    pub(crate) data_dir: PathBuf,
    /// The master keys
    #[arg(long, env = "TRIVIUM_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: PathBuf,
    /// Whose key; 0 without credentials
    #[arg(long)]
    pub(crate) tenant: u32,
}
