//! Parses, runs, prints one error, exits.

fn main() {}
