//! `pkgpanda`: what runs on hosts. It has no network: it takes what lies there, and trusts only digests.

mod activation;
mod audit;
mod edit;
mod global;
mod identity;
mod seed;
mod setup;
mod store;
mod uninstall;
mod upgrade;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bake_base::Digest;
use bake_host::installer::{self, Request};
use bake_host::{Failure, Role};
use clap::{Args, Parser, Subcommand};

use global::{Global, print, print_json};

/// Installs what `bake configure` made on the host that it is for, and changes, checks and mends it there
#[derive(Debug, Parser)]
#[command(
    name = "pkgpanda",
    version,
    after_help = "Status: 0 done, or so already; 1 failed, and the host is what it was unless the message says otherwise; 2 wrong usage."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the host what its roles and its current generation say; runs at every boot
    Setup(setup::SetupArgs),
    /// Tell how the host is doing: its generation, roles, services, and what was changed by hand
    Status,
    /// Make these packages the active ones, and no others
    Activate(activation::ActivateArgs),
    /// Make a package active in place of the one of the same name
    Swap(activation::SwapArgs),
    /// Go back to the generation before the current one, or to any that is there
    Rollback(activation::RollbackArgs),
    /// List the roles of the host, or change them
    Role(activation::RoleArgs),
    /// List the active packages
    Active,
    /// Change a file of a package in this live system, and keep the package as it was built
    Edit(edit::EditArgs),
    /// List the generations that are there
    Generations,
    /// Remove old generations, and packages and changed files that none refers to
    Gc(activation::GcArgs),
    /// List the packages that are on the host, active or not
    List,
    /// Fetch packages from a serve directory, and verify them
    Fetch(store::FetchArgs),
    /// Add a package from a file
    Add(store::AddArgs),
    /// Remove packages that are not active
    Remove(store::RemoveArgs),
    /// Run the programs by which active packages tell whether the host is well. Status 1 if one fails
    Check(store::CheckArgs),
    /// Make another product active, check whether the host is well with it, and go back if it is not
    Upgrade(upgrade::UpgradeArgs),
    /// Install a product into /opt/mesosphere of a host, or finish what was begun. Starting is left to `systemctl start dcos-setup` or the next boot
    Install(InstallArgs),
    /// Remove everything that was ever made, and nothing else; or go on with that
    Uninstall(uninstall::UninstallArgs),
    /// Compare every file of a product with its digest
    Verify(ProductArgs),
    /// Unpack any archive into a directory that is not there yet
    Unpack(UnpackArgs),
    /// Compare everything that is installed with what should be. Status 1 if anything differs
    Audit(audit::AuditArgs),
    /// Put back exactly what an audit finds different: what is missing or damaged, what is too much, permissions, owners, links
    Repair(audit::RepairArgs),
    /// Give disk, partitions and file systems of a baked image ids of this machine's own; runs at every boot
    #[command(hide = true)]
    Identity(identity::IdentityArgs),
    /// Take the product that the image of this system brings in its /usr, once; runs at every boot
    #[command(hide = true)]
    Seed,
}

#[derive(Debug, Args)]
struct ProductArgs {
    /// The product: product.json of a serve directory
    #[arg(long, value_name = "FILE")]
    product: PathBuf,
    /// The digest that this document must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    /// The directory that the files of the product lie in, by the paths that it names
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

#[derive(Debug, Args)]
struct InstallArgs {
    #[command(flatten)]
    product: ProductArgs,
    /// What the host is to be, such as master; may be repeated. Without one, a host keeps the roles that it has
    #[arg(long, value_name = "ROLE")]
    role: Vec<Role>,
    /// The archive with the product's secrets
    #[arg(long, value_name = "TAR")]
    secrets: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct UnpackArgs {
    /// A tar of any compression
    archive: PathBuf,
    /// The directory to make
    directory: PathBuf,
    /// The digest that the archive must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(status) => status,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Lines on stderr.
fn complain(text: &str) {
    for line in text.lines() {
        // Nobody is left to tell when this fails.
        let _ = writeln!(io::stderr(), "pkgpanda: {line}");
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Setup(args) => setup::setup(global, &args)?,
        Command::Status => setup::status(global)?,
        Command::Activate(args) => activation::activate(global, args)?,
        Command::Swap(args) => activation::swap(global, args)?,
        Command::Rollback(args) => activation::rollback(global, &args)?,
        Command::Role(args) => activation::role(global, args)?,
        Command::Active => activation::active(global)?,
        Command::Edit(args) => edit::edit(global, &args)?,
        Command::Generations => activation::generations(global)?,
        Command::Gc(args) => activation::gc(global, &args)?,
        Command::Audit(args) => return audit::audit(global, &args),
        Command::Repair(args) => return audit::repair(global, args),
        Command::Identity(args) => identity::identity(global, &args)?,
        Command::Seed => seed::seed(global)?,
        Command::List => store::list(global)?,
        Command::Fetch(args) => store::fetch(global, &args)?,
        Command::Add(args) => store::add(global, &args)?,
        Command::Remove(args) => store::remove(global, args)?,
        Command::Check(args) => return store::check(global, &args),
        Command::Upgrade(args) => return upgrade::upgrade(global, args),
        Command::Install(args) => install(global, args)?,
        Command::Uninstall(args) => uninstall::uninstall(global, &args)?,
        Command::Verify(args) => {
            let loaded = installer::load(&args.product, args.sha256)?;
            installer::verify(&loaded.product, &args.from)?;
            let config_id = &loaded.product.config_id;
            if global.json {
                print_json(&serde_json::json!({"config_id": config_id, "verified": true}))?;
            } else {
                print(&format!("verified: {config_id}"))?;
            }
        }
        Command::Unpack(args) => {
            installer::unpack(&args.archive, &args.directory, args.sha256)?;
            if global.json {
                print_json(&serde_json::json!({"unpacked": args.directory}))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn install(global: &Global, args: InstallArgs) -> Result<(), Failure> {
    let request = Request {
        product: args.product.product,
        sha256: args.product.sha256,
        from: args.product.from,
        root: global.root.clone(),
        roles: args.role.into_iter().collect(),
        secrets: args.secrets,
    };
    let installed = installer::install(&request, &mut |step| global.say(step))?;
    if global.json {
        return print_json(&installed);
    }
    installed.notes.iter().try_for_each(|note| print(&format!("note: {note}")))?;
    if installed.already {
        print(&format!("installed already: {}", installed.config_id))?;
    }
    Ok(())
}
