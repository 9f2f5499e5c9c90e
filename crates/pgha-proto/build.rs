//! Generates the Rust code of `proto/pgha/v1` without an installed `protoc`.

use std::error::Error;

const ROOT: &str = "../../proto";
const FILES: [&str; 4] = [
    "pgha/v1/common.proto",
    "pgha/v1/raft.proto",
    "pgha/v1/member.proto",
    "pgha/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let descriptors = protox::compile(FILES, [ROOT])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
