//! The `tidewire` command.

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    tidewire::cli::run().await
}
