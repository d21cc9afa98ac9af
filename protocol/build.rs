//! Turns `proto/rocketmq.proto` into Rust, for the feature `grpc` only. Needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "grpc")]
    compile()?;
    Ok(())
}

#[cfg(feature = "grpc")]
fn compile() -> Result<(), Box<dyn std::error::Error>> {
    let set = protox::compile(["rocketmq.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // The server is for tests and says so.
        .server_mod_attribute("apache.rocketmq.v2", "#[cfg(feature = \"grpc-server\")]")
        .bytes(".apache.rocketmq.v2.Message.body")
        .btree_map(".apache.rocketmq.v2.Message.user_properties")
        .compile_fds(set)?;
    Ok(())
}
