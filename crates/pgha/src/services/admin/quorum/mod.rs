//! Going on with one member after the quorum was lost for ever: what it has, whether it may, and the
//! doing. Answered by the member that is asked, for itself.

mod facts;
mod obstacle;
mod recover;
mod view;

pub(super) use self::recover::recover;
pub(super) use self::view::view;
