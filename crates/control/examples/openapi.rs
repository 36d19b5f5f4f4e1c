//! Prints the description of the API, as the code makes it: what `cargo xtask generate` writes to `docs/openapi.json`.
#![expect(clippy::print_stdout, reason = "what it prints is its answer")]

fn main() {
    print!("{}", tidegate_control::describe());
}
