//! Scenarios that the simulator found, one decision each.

mod data;
mod elect;
mod ended;
mod entries;
mod follow;
mod handover;
mod leadership;
mod primary;
mod replacing;
mod scene;
mod views;
