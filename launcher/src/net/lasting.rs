//! What of a network outlives a start of the command: the ports of the host, so that no other takes them, and the device
//! with its addresses.
//!
//! Between two starts a socket that was opened in the last namespace holds that, and with it the pair, so that its name and
//! addresses are nobody else's. It goes with nsl, however nsl ends. When the next start is prepared it is closed, and the
//! pair is made anew: nothing that the last command did to its own end is left.

use super::Made;
use super::plan::Addresses;
use super::publish::Publication;
use super::reserve::{self, Reserved};
use crate::error::Result;
use std::os::fd::OwnedFd;

#[derive(Default)]
pub struct Lasting {
    reserved: Option<Reserved>,
    pair: Option<(String, Addresses)>,
    inside: Option<OwnedFd>,
    /// Another has the ports while the command runs.
    is_lent: bool,
}

impl Lasting {
    /// Is there a pair already, whose addresses stand on the host?
    pub fn is_taken(&self) -> bool {
        self.pair.is_some()
    }

    /// The ports, taken once; what is given has their numbers alone.
    pub(super) fn reserve(&mut self, publications: &[Publication]) -> Result<Reserved> {
        let reserved = match self.reserved.take() {
            Some(reserved) => reserved,
            None => reserve::reserve(publications)?,
        };
        Ok(self.reserved.insert(reserved).numbers())
    }

    /// Leaves the ports to another, while the command runs.
    pub(super) fn let_the_ports_go(&mut self) {
        self.reserved.iter_mut().for_each(Reserved::let_go);
        self.is_lent = true;
    }

    /// Lets the last pair go, which is to be made again.
    pub(super) fn let_go(&mut self) -> Option<(String, Addresses)> {
        self.inside = None;
        self.pair.clone()
    }

    /// The command has ended.
    pub fn keep(&mut self, made: Made) {
        self.pair = Some((made.device, made.addresses));
        self.inside = made.inside;
    }

    /// Takes those ports back that another had. What somebody else took first is missed by the next start.
    pub fn hold(&mut self) {
        if std::mem::take(&mut self.is_lent)
            && let Some(reserved) = &mut self.reserved
        {
            reserved.take_again();
        }
    }
}
