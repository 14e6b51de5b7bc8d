//! Images as the daemon holds them: checked once, kept in a sealed memory file for the monitors.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use images::{ImageError, Plan};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::config::ImageRef;

/// An image that passed every check and is ready to be handed to a shell.
#[derive(Debug)]
pub struct LoadedImage {
    /// The checked load plan.
    pub plan: Plan,
    /// The image's bytes; sealed, so a monitor that holds it cannot change what others boot.
    pub file: OwnedFd,
}

/// Why an image cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no built-in image of that name.
    #[error("there is no built-in image `{name}`; the built-in images are: {known}")]
    UnknownBuiltin {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read the image file {path}; check `image` of the service")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not an image that can be booted.
    #[error("{name} is not an image that can be booted")]
    Image {
        /// The image's name in the configuration.
        name: String,
        /// What is wrong with it.
        source: ImageError,
    },
    /// The image does not fit the memory that the service gives it.
    #[error("{name} does not fit the memory of service `{service}`")]
    Memory {
        /// The image's name in the configuration.
        name: String,
        /// The service.
        service: String,
        /// What is missing.
        source: ImageError,
    },
    /// The bytes cannot be put into a memory file.
    #[error(
        "cannot keep the image {name} in a memory file; is the machine out of memory or descriptors?"
    )]
    Keep {
        /// The image's name in the configuration.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LoadedImage {
    /// Reads, checks and seals the image that `reference` names.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, or is not a bootable image.
    pub fn load(reference: &ImageRef) -> Result<Self, LoadError> {
        let name = reference.to_string();
        match reference {
            ImageRef::Builtin(builtin) => {
                let bytes =
                    images::builtin::find(builtin).ok_or_else(|| LoadError::UnknownBuiltin {
                        name: builtin.clone(),
                        known: images::builtin::NAMES.join(", "),
                    })?;
                Self::from_bytes(&name, bytes)
            }
            ImageRef::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|source| LoadError::Read { path: path.clone(), source })?;
                Self::from_bytes(&name, &bytes)
            }
        }
    }

    /// Checks and seals an image's bytes; `name` is for messages.
    ///
    /// # Errors
    /// When the bytes are not a bootable image, or no memory file can be made.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let plan = images::plan(bytes)
            .map_err(|source| LoadError::Image { name: name.to_owned(), source })?;
        let file = seal(name, bytes)
            .map_err(|source| LoadError::Keep { name: name.to_owned(), source })?;
        Ok(Self { plan, file })
    }
}

fn seal(name: &str, bytes: &[u8]) -> std::io::Result<OwnedFd> {
    // A memory file's name is for debugging only, but must not hold a NUL or be long.
    let label: String = name.chars().filter(char::is_ascii_graphic).take(100).collect();
    let file = memfd_create(label, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    std::io::Write::write_all(&mut file, bytes)?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file.into())
}
