//! `suture-server`.

fn main() {}
