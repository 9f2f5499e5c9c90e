//! Cut, promote, follow, rewind: the parts of a failover on real PostgreSQL servers.

mod readers;
mod restarts;
mod twins;
mod whole;
