//! Compiles the `.proto` files without protoc.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "suture/v1/common.proto",
        "suture/v1/audit.proto",
        "suture/v1/device.proto",
        "suture/v1/decision.proto",
        "suture/v1/event.proto",
        "suture/v1/exposure.proto",
        "suture/v1/life.proto",
        "suture/v1/notice.proto",
        "suture/v1/evidence.proto",
        "suture/v1/operator.proto",
    ];
    println!("cargo:rerun-if-changed=suture");
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("suture.v1.bin"), protox::prost::Message::encode_to_vec(&descriptors))?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::CountedCodec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
