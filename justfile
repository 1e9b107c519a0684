# Lists the recipes.
default:
    @just --list

# Formatting and lints, as .ci/run checks them.
check:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings

# Unit tests, or those whose path contains FILTER.
unit FILTER="":
    cargo test --locked --lib {{FILTER}}

# Integration tests, or those whose path contains FILTER: `just it config::`.
it FILTER="":
    cargo test --locked --test it {{FILTER}}

# provision in the sandbox: `just try up`, `just try call GET /user`.
try +ARGS:
    cargo run -- {{ARGS}} --sandbox

# Everything that decides.
ci:
    .ci/run
