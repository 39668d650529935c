//! The `tidewire` command.

use std::process::ExitCode;

/// A publish and its deliveries take and give back some twenty pieces of memory (docs/performance.md has what it is worth).
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[actix_web::main]
async fn main() -> ExitCode {
    tidewire::cli::run().await
}
