//! The program: command line, configuration, choice of backends, wiring, signals.

mod cli;
mod config;
mod faces;
mod log;
mod memory;
mod moving;
mod otlp;
mod overrides;
mod ports;
mod run;
mod runs;
mod serve;
mod usage;
mod wiring;

use std::{fs, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use cli::{Cli, Command, ReferenceCommand, SimCommand, SimProviderArgs};
use tidegate_sim::ProviderSpec;

fn main() -> ExitCode {
    let cli = Cli::parse();
    dispatch(&cli).unwrap_or_else(|error| cli::print_error(&error, &cli.sources()))
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Some(said) = cli::answer(cli)? {
        return Ok(cli::print(&said));
    }
    match &cli.command {
        Command::Serve(args) => serve::run(cli.sources(), args.for_runs)?,
        Command::Run(args) => return run::run(&cli.sources(), args),
        Command::Sim(SimCommand::Provider(args)) => emulate(args)?,
        Command::Reference(ReferenceCommand::Openapi) => {
            return Ok(cli::print(&cli::Said::fine(
                tidegate_control::OPENAPI.to_owned(),
            )));
        }
        // Everything else has been answered.
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the emulated provider until it is interrupted.
fn emulate(args: &SimProviderArgs) -> anyhow::Result<()> {
    let spec = match &args.spec {
        Some(file) => {
            let text = fs::read_to_string(file)
                .with_context(|| format!("the spec `{}` can't be read", file.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("the spec `{}` is not understood", file.display()))?
        }
        None if args.bench => ProviderSpec::bench(),
        None if args.unlimited => ProviderSpec::unlimited(),
        None => ProviderSpec::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .with_context(|| {
                format!(
                    "can't listen on `{}`: choose another with --listen",
                    args.listen
                )
            })?;
        cli::print(&cli::Said::fine(format!(
            "emulated provider at http://{}",
            listener.local_addr()?
        )));
        tidegate_sim::serve(spec, listener, serve::interrupted()?).await?;
        Ok(())
    })
}
