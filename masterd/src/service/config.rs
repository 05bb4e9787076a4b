//! Reads what gen wrote for a daemon: `<store>/current/<name>.toml`. It never writes, and a file that cannot be
//! read or understood is told with its path.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a daemon has no configuration.
#[derive(Debug)]
pub enum ConfigError {
    Read { path: PathBuf, source: io::Error },
    Parse { path: PathBuf, source: Box<toml::de::Error> },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } if source.kind() == io::ErrorKind::NotFound => {
                write!(f, "{} does not exist: run boottorrent-gen on the site folder first", path.display())
            }
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Parse { path, source } => write!(
                f,
                "{} is not of this version's form ({}): run boottorrent-gen again",
                path.display(),
                source.message()
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The configuration `name` of the store's current generation.
pub fn read<T: DeserializeOwned>(store: &Path, name: &str) -> Result<T, ConfigError> {
    let path = store.join("current").join(format!("{name}.toml"));
    let text =
        std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Parse { path, source: Box::new(source) })
}
