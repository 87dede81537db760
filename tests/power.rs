//! Power cuts. A real kernel in a machine runs `pkgpanda` on an ext4 that its disk is written through QEMU's
//! recorder, and goes off without a word. The record has every write and every flush in order; each cut point is
//! one disk as the power may have left it: all that was flushed, and of later writes any part, in any order, torn
//! between sectors. The kernel of this machine replays the journal, `pkgpanda setup` runs as at a boot, and the host
//! is one complete generation: the old one before the commit was flushed, the new one after.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use support::listing;

#[path = "power/cuts.rs"]
mod cuts;
#[path = "power/guest.rs"]
mod guest;
#[path = "power/host.rs"]
mod host;
#[path = "power/kills.rs"]
mod kills;
#[path = "power/record.rs"]
mod record;
#[allow(dead_code)] // shared with tests of the host's own crate
#[path = "support/wares.rs"]
mod wares;
