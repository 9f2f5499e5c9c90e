//! Who runs this process.

use nix::unistd::{Uid, User};

/// The name of the operating system user that this process runs as: the user that peer
/// authentication sees (manual, 21.9 "Peer Authentication"). A container's user may have no name;
/// PostgreSQL itself then refuses peer logins, so there is nothing to fall back to.
pub fn effective_user_name() -> Option<String> {
    User::from_uid(Uid::effective())
        .ok()
        .flatten()
        .map(|user| user.name)
}
