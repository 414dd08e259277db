//! `millpond plugins`: which state backends there are.

use crate::{Failure, Outcome, existing};
use millpond_engine::backend::{BackendFactory, BackendRegistry, PluginLoader, RefusalKind};
use millpond_engine::config::Configuration;
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `millpond plugins`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with libraries instead of those of plugins.dir; may be repeated
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
    /// The folder of the configuration whose plugins.dir is searched; without it that is `plugins`
    #[arg(long, value_name = "DIR", env = "MILLPOND_CONF_DIR", conflicts_with = "dir")]
    conf: Option<PathBuf>,
}

/// Lists the backends.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<Outcome, Failure> {
    let loader = loader(args)?;
    writeln!(out, "built in:")?;
    for factory in BackendRegistry::with_builtin().iter() {
        write_factory(out, factory)?;
    }
    let mut outcome = Outcome::Well;
    for folder in loader.scan() {
        writeln!(out, "{}:", folder.path.display())?;
        match folder.libraries {
            Err(reason) => writeln!(out, "  {reason}")?,
            Ok(libraries) if libraries.is_empty() => writeln!(out, "  no libraries")?,
            Ok(libraries) => {
                for result in libraries {
                    match result {
                        Ok(library) => {
                            let version = library.api_version();
                            writeln!(out, "  {} (backend-api {version})", library.path().display())?;
                            for factory in library.factories() {
                                write!(out, "  ")?;
                                write_factory(out, factory)?;
                            }
                        }
                        Err(refusal) => {
                            outcome = Outcome::NotWell;
                            let what = match refusal.kind {
                                RefusalKind::WrongAbi => "REFUSED, other version",
                                _ => "REFUSED, not loadable",
                            };
                            writeln!(out, "  {} {what}: {}", refusal.path.display(), refusal.reason)?;
                        }
                    }
                }
            }
        }
    }
    Ok(outcome)
}

fn loader(args: &Args) -> Result<PluginLoader, Failure> {
    if args.dir.is_empty() {
        let config = match &args.conf {
            Some(dir) => Configuration::from_dir(dir).map_err(Failure::Arguments)?,
            None => Configuration::new(),
        };
        return PluginLoader::from_config(&config).map_err(Failure::Arguments);
    }
    for dir in &args.dir {
        existing(dir).map_err(Failure::Arguments)?;
    }
    Ok(PluginLoader::new(&args.dir))
}

fn write_factory(out: &mut impl Write, factory: &BackendFactory) -> std::io::Result<()> {
    let short_names = match factory.short_names() {
        [] => "no short name".to_owned(),
        names => names.join(", "),
    };
    writeln!(out, "  {} {} ({short_names})", factory.name(), factory.version())
}
