//! Has the released programs linked without their symbols: cargo forgets `strip` of a profile for a package whose `opt-level` is set
//! by itself (as of 1.95), and a device has little room. In these words it is the last of what the linker is told of symbols.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
