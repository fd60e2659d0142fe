//! What is done to the crate besides building it: `cargo run -p xtask -- COMMAND`, from the crate's root.

mod steps;
mod translate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Checks of the crate")]
enum Command {
    /// Runs steps of the checks that every change must pass, in the given order; all of them, if none is named.
    Ci {
        /// Their names.
        steps: Vec<steps::Step>,
    },
    /// Translates the texts in a folder, which `GRADUS_SHADERS=FOLDER` has the crate write, as wgpu would for each back end,
    /// and lets other compilers check the results.
    Translate {
        /// Where the texts are.
        folder: PathBuf,
        /// The manifest of the Vulkan driver that makes the pipelines.
        driver: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Ci { steps } => steps::run(&steps),
        Command::Translate { folder, driver } => translate::run(&folder, driver.as_os_str()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
