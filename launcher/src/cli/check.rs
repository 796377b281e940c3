//! The options of `nsl check`.

use clap::Args;

#[derive(Args)]
#[command(after_help = "\
A line each: ok; limited, where something of nsl's is not to be had; missing, where nsl run does not work; absent, where \
only who asks for it needs it; unknown, where it could not be tried. What mends it stands behind \"hint:\". The last \
line is the sum.

What only a trial tells is tried: sandboxes start and end, the network of root's in one of its own. Nothing of this \
host's is changed; its kernel may load the modules that nsl run would have it load.

Exit status: 0 if nsl run works, 1 if it does not, 125 if nsl check itself failed.")]
pub struct Check {
    /// Write one JSON object (docs/check.md has its schema)
    #[arg(long)]
    pub json: bool,
}
