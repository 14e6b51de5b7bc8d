//! `summoner image`: looks into images.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Prints an image's kind, ABI, entry, segments, manifest and hash
    Inspect {
        /// An image file, or `builtin:NAME`
        image: String,
    },
}

pub(super) fn run(command: &ImageCommand) -> Result<(), Failure> {
    let ImageCommand::Inspect { image } = command;
    let octets = match image.strip_prefix("builtin:") {
        Some(name) => images::builtin::find(name).map(<[u8]>::to_vec).ok_or_else(|| Failure {
            exit: Exit::Usage,
            text: format!(
                "there is no built-in image `{name}`; the built-in images are: {}",
                images::builtin::NAMES.join(", ")
            ),
        })?,
        None => std::fs::read(PathBuf::from(image)).map_err(|error| Failure {
            exit: Exit::Unavailable,
            text: format!("cannot read {image}: {error}"),
        })?,
    };
    let text =
        images::inspect::describe(&octets).map_err(|error| Failure::configuration(&error))?;
    print!("{text}");
    Ok(())
}
