//! The program: command line, configuration, choice of backends, wiring, signals.

mod cli;
mod config;
mod faces;
mod log;
mod ports;
mod serve;
mod wiring;

/// Gives memory back after a burst, which the system's allocator doesn't.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("sim") => {
            let bench = args.any(|it| it == "--bench");
            let spec = if bench { tidegate_sim::ProviderSpec::bench() } else { tidegate_sim::ProviderSpec::default() };
            let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            rt.block_on(async {
                let l = tokio::net::TcpListener::bind("127.0.0.1:9900").await?;
                tidegate_sim::serve(spec, l, std::future::pending()).await
            })?;
            Ok(())
        }
        _ => serve::run(config::Sources::of_process()),
    }
}
