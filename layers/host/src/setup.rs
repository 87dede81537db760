//! What a host derives from its current generation, at every boot and after every change: files outside of the
//! install root, roles, users, state directories, kernel settings, units. Whatever is right already stays as it is.

mod roles;

use crate::host::{HOME, Host, Present};
use crate::integration::{self, HostEntry};
use crate::persist::{self, Persistent};
use crate::product::Product;
use crate::{Failure, created, files, place};

/// Where a generation keeps the secrets that a later one has replaced, by their paths.
const SECRETS: &str = "secrets";
/// The largest secret, in bytes.
const SECRET_LIMIT: u64 = 1 << 20;

/// Makes the host what its current generation, which is `present`, says. Whatever one part fails at, the others
/// are done: a host that lacks a user still runs what needs none.
///
/// # Errors
/// Everything that could not be done.
pub fn derive(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let mut keep = |result: Result<(), Failure>| problems.extend(result.err());
    keep(persist(host, present, say));
    keep(roles::mirror(&host.root, &present.generation.roles, say));
    if problems.is_empty() { Ok(()) } else { Err(Failure::each(problems)) }
}

/// Files outside of the install root.
fn persist(host: &Host, present: &Present, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let generation = &present.generation;
    let mut made = created::of_generation(generation);
    made.extend(generation.roles.iter().map(created::role));
    created::note(&host.root, &made)?;
    // The roles are not among these: they change all at once.
    let mut wanted = Persistent::default();
    if let Some(bytes) = &present.product {
        let product: Product = serde_json::from_slice(bytes).map_err(|error| {
            Failure::new(format!("the product of generation {} is none: {error}", present.number))
        })?;
        wanted.files = Some(integration::product_files(&product).map_err(Failure::each)?);
        for path in integration::secret_paths(&product).map_err(Failure::each)?.into_keys() {
            let kept = format!("{HOME}/{}/{SECRETS}", present.number.directory());
            let kept = path.components().fold(place::path(&kept), |at, name| at.join(name));
            if let Some(content) = files::read(&host.root, &kept, SECRET_LIMIT)? {
                wanted.secrets.insert(path, HostEntry { mode: 0o600, content });
            }
        }
    }
    persist::persist(&host.root, &wanted, say)
}
