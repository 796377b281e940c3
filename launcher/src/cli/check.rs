//! The options of `nsl check`.

use clap::Args;

#[derive(Args)]
pub struct Check {
    /// Write one JSON object (docs/check.md has its schema)
    #[arg(long)]
    pub json: bool,
}
