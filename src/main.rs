//! The predefined binary.
fn main() {}
