//! Compiles anew when a migration is added, which the macro that embeds them cannot ask for by itself.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
