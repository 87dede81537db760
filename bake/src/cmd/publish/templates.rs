//! `bake publish templates`, and the published manifest that it reads.

#[cfg(feature = "aws")]
use std::io::Write;
#[cfg(feature = "aws")]
use std::path::Path;

#[cfg(feature = "aws")]
use bake_base::{Unnamed, json};
use bake_publish::{PublishedImage, templates};

use crate::cli::TemplatesArgs;
use crate::cmd::package::print_json;
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// Writes all templates, or none.
pub fn run(args: &TemplatesArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let signals = Signals::take_over().map_err(Failure::signals)?;
    let image = PublishedImage::read(&args.published)?;
    let files = signals.hold(|| templates::write(&image, &args.out))?;
    if args.json {
        return print_json(&files, printer);
    }
    files.iter().try_for_each(|file| printer.line(args.out.join(&file.name).display().to_string()))
}

/// Writes a published manifest: all of it, or nothing.
#[cfg(feature = "aws")]
pub fn write_published(path: &Path, image: &PublishedImage) -> Result<(), Failure> {
    let bytes = json::to_canonical(image);
    let bytes = bytes.map_err(|error| Failure::new(format!("rendering JSON failed: {error}")))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let unnamed = Unnamed::new(directory)?;
        (&**unnamed.file()).write_all(&bytes)?;
        unnamed.name(path)
    };
    write().map_err(|error| Failure::new(format!("writing `{}` failed: {error}", path.display())))
}
