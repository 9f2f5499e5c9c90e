//! How sidecars with one peer list become a cluster, and how one that lost its store finds back.

mod hello;
mod next;
mod obstacle;
#[cfg(test)]
mod tests;

pub use hello::{Hello, Standing};
pub use next::{Next, next};
