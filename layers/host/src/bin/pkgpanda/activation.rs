//! Commands that change which generation is current, and those that tell.

use std::collections::BTreeSet;

use bake_host::activate::{self, Changed, Plan, Stop, Wanted};
use bake_host::gc::{self, Garbage};
use bake_host::generation::Number;
use bake_host::host::{Host, Present};
use bake_host::product::Product;
use bake_host::{Failure, PackageId, Role, overrides};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    /// The packages, which are on the host
    #[arg(value_name = "ID", required = true)]
    ids: Vec<PackageId>,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SwapArgs {
    /// The package, which is on the host
    #[arg(value_name = "ID")]
    id: PackageId,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// A generation, also a later one; the one before the current unless given
    #[arg(value_name = "N")]
    number: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    #[command(subcommand)]
    command: Option<RoleCommand>,
}

#[derive(Debug, Subcommand)]
enum RoleCommand {
    /// Give the host a role
    Add(OneRoleArgs),
    /// Take a role from the host
    Remove(OneRoleArgs),
}

#[derive(Debug, Args)]
struct OneRoleArgs {
    /// The role, such as slave
    role: Role,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// How many generations before the current one are kept
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
struct PlanArgs {
    /// Print what would change, and change nothing
    #[arg(long)]
    plan: bool,
}

pub(crate) fn activate(global: &Global, args: ActivateArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let active: BTreeSet<PackageId> = args.ids.into_iter().collect();
    change(global, &host, &args.plan, |present| {
        Ok((Wanted { active, ..Wanted::of(present) }, Stop::Everything))
    })
}

pub(crate) fn swap(global: &Global, args: SwapArgs) -> Result<(), Failure> {
    let host = global.host()?;
    change(global, &host, &args.plan, |present| {
        let mut wanted = Wanted::of(present);
        let (name, before) = (args.id.name(), wanted.active.len());
        wanted.active.retain(|id| id.name() != name);
        if wanted.active.len() == before {
            return Err(Failure::new(format!(
                "no package `{name}` is active: expected the name of an active one, as `pkgpanda active` lists them"
            )));
        }
        wanted.active.insert(args.id);
        Ok((wanted, Stop::Everything))
    })
}

pub(crate) fn rollback(global: &Global, args: &RollbackArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let lock = host.lock(false)?;
    let list = || Ok(host.generations()?.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let number = match &args.number {
        Some(text) => {
            let number = Number::parse(text.as_bytes())
                .filter(|number| host.generations().is_ok_and(|all| all.contains(number)));
            let Some(number) = number else {
                let text = text.escape_debug();
                return Err(Failure::new(format!(
                    "there is no generation `{text}`: expected one of {}",
                    list()?
                )));
            };
            number
        }
        // Which one was before, only the current one says.
        None => {
            let current = host.current()?;
            activate::previous(&host, &current)?.ok_or_else(|| {
                let number = current.number;
                Failure::new(format!("there is no generation before {number}: give one that there is, as `pkgpanda generations` lists them"))
            })?
        }
    };
    let changed = activate::switch_to(&host, &lock, number, &mut |step| global.say(&step))?;
    done(global, &changed)
}

pub(crate) fn role(global: &Global, args: RoleArgs) -> Result<(), Failure> {
    let Some(command) = args.command else {
        let roles = global.host_to_look()?.current()?.generation.roles;
        if global.json {
            return print_json(&json!({ "roles": roles }));
        }
        return roles.iter().try_for_each(|role| print(role.as_str()));
    };
    let host = global.host()?;
    let (args, add) = match command {
        RoleCommand::Add(args) => (args, true),
        RoleCommand::Remove(args) => (args, false),
    };
    change(global, &host, &args.plan, |present| {
        let mut roles = activate::coming_roles(&host, present)?;
        if add {
            let known = activate::known_roles(&host, present)?;
            if !known.contains(&args.role) {
                let known = known.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
                return Err(Failure::new(format!(
                    "no package knows the role `{}`: expected one of {known}",
                    args.role
                )));
            }
            roles.insert(args.role);
        } else if !roles.remove(&args.role) {
            global.say(&format!("the host has no role `{}`", args.role));
        }
        Ok((Wanted::in_roles(&host, present, roles)?, Stop::Gone))
    })
}

pub(crate) fn active(global: &Global) -> Result<(), Failure> {
    let active = global.host_to_look()?.current()?.generation.active;
    if global.json {
        return print_json(&active.keys().collect::<Vec<_>>());
    }
    active.keys().try_for_each(|id| print(id.as_str()))
}

pub(crate) fn generations(global: &Global) -> Result<(), Failure> {
    let host = global.host_to_look()?;
    // Where nothing leads to one any more, this is where to look for one to go back to.
    let current = host.leads_to().ok();
    let mut rows = Vec::new();
    for number in host.generations()? {
        let row = match host.present(number) {
            Ok(present) => describe(&present, Some(number) == current),
            Err(failure) => {
                json!({"number": number, "current": Some(number) == current, "damaged": failure.to_string()})
            }
        };
        rows.push(row);
    }
    if global.json {
        return print_json(&rows);
    }
    rows.iter().try_for_each(|row| print(&line(row)))
}

fn describe(present: &Present, current: bool) -> serde_json::Value {
    let product = present.product.as_ref().and_then(|bytes| serde_json::from_slice::<Product>(bytes).ok());
    json!({
        "number": present.number,
        "current": current,
        "config_id": product.map(|product| product.config_id),
        "roles": present.generation.roles,
        "packages": present.generation.active.len(),
        "overrides": overrides::each(&present.generation.overrides).count(),
        "before": present.generation.before,
    })
}

fn line(row: &serde_json::Value) -> String {
    let mark = if row["current"] == true { "* " } else { "  " };
    let number = &row["number"];
    if let Some(failure) = row["damaged"].as_str() {
        return format!("{mark}{number}  damaged: {failure}");
    }
    let roles: Vec<&str> =
        row["roles"].as_array().into_iter().flatten().filter_map(|role| role.as_str()).collect();
    let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
    let config = row["config_id"].as_str().unwrap_or("no product");
    let overrides = match row["overrides"].as_u64() {
        Some(0) | None => String::new(),
        Some(1) => "  1 override".to_owned(),
        Some(count) => format!("  {count} overrides"),
    };
    let packages =
        if row["packages"] == 1 { "1 package".to_owned() } else { format!("{} packages", row["packages"]) };
    format!("{mark}{number}  {config}  {roles}  {packages}{overrides}")
}

pub(crate) fn gc(global: &Global, args: &GcArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let garbage = if args.plan.plan {
        gc::find(&host, args.keep)?
    } else {
        gc::collect(&host, &host.lock(false)?, args.keep)?
    };
    if global.json {
        return print_json(&garbage);
    }
    let verb = if args.plan.plan { "would remove" } else { "removed" };
    if garbage == Garbage::default() {
        return print("nothing to remove");
    }
    garbage.lines().iter().try_for_each(|line| print(&format!("{verb} {line}")))
}

/// Changes the host to what `wanted` makes of what there is, or tells what that would change.
fn change(
    global: &Global,
    host: &Host,
    plan: &PlanArgs,
    wanted: impl FnOnce(&Present) -> Result<(Wanted, Stop), Failure>,
) -> Result<(), Failure> {
    if plan.plan {
        let (wanted, _) = wanted(&host.current()?)?;
        return planned(global, &activate::plan(host, &wanted)?);
    }
    let lock = host.lock(false)?;
    let (wanted, stop) = wanted(&host.current()?)?;
    let changed = activate::change(host, &lock, &wanted, stop, &mut |step| global.say(&step))?;
    done(global, &changed)
}

fn done(global: &Global, changed: &Changed) -> Result<(), Failure> {
    let Changed { number, before, notes } = changed;
    if global.json {
        let changed = number != before;
        return print_json(
            &json!({"before": before, "generation": number, "changed": changed, "notes": notes}),
        );
    }
    notes.iter().try_for_each(|note| print(&format!("note: {note}")))
}

fn planned(global: &Global, plan: &Plan) -> Result<(), Failure> {
    if global.json {
        return print_json(plan);
    }
    let lines = plan.lines();
    if lines.is_empty() {
        return print(&format!("nothing would change: generation {} has it all", plan.current));
    }
    lines.iter().try_for_each(|line| print(line))
}
