//! `bake publish templates`.

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
    let files = signals.hold(|| Ok::<_, Failure>(templates::write(&image, &args.out)?))?;
    if args.json {
        return print_json(&files, printer);
    }
    files.iter().try_for_each(|file| printer.line(args.out.join(&file.name).display().to_string()))
}
