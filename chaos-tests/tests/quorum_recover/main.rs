//! The operator's way on after most members were lost for ever (design 6.6), and the way back of those
//! who were not lost for ever after all.

mod alone;
mod killed;
mod others;
mod rig;
mod witness;
