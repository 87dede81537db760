//! What people launch clusters with: templates of CloudFormation and a module of Terraform, with the AMI of every region
//! and with user data that names roles.
//!
//! Masters are machines with fixed addresses, since a configuration names them; agents are in auto scaling groups. All
//! values come from a checked [`PublishedImage`] and are written as JSON, which YAML takes for a flow node and HCL for a
//! literal: `$` and `%`, with which its templates begin, are in none of them.

use std::io::{self, Write};
use std::path::Path;

use bake_base::{Digest, OutputSet};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::{Error, PublishedImage};

/// What CloudFormation takes as it is, in bytes (AWS CloudFormation User Guide, "quotas").
pub const TEMPLATE_LIMIT: usize = 51_200;
/// What EC2 takes as user data, in bytes.
pub const USER_DATA_LIMIT: usize = 16 << 10;
/// The file that vouches for the others.
const SUMS: &str = "SHA256SUMS";

/// Sizes of clusters: masters agree by majority.
const MASTERS: [usize; 3] = [1, 3, 5];
/// Where masters answer: web, ZooKeeper, Mesos, Marathon, Exhibitor.
const MASTER_PORTS: [u16; 6] = [80, 443, 2181, 5050, 8080, 8181];
/// What the network of containers uses between all agents: name for a resource, protocol, port.
const OVERLAY: [(&str, &str, u16); 3] =
    [("Epmd", "tcp", 61_420), ("Gossip", "tcp", 62_501), ("Vxlan", "udp", 64_000)];

const MODULE: [(&str, &str); 7] = [
    ("balancers.tf", include_str!("../templates/balancers.tf")),
    ("hosts.tf", include_str!("../templates/hosts.tf")),
    ("images.tf", include_str!("../templates/images.tf")),
    ("network.tf", include_str!("../templates/network.tf")),
    ("outputs.tf", include_str!("../templates/outputs.tf")),
    ("variables.tf", include_str!("../templates/variables.tf")),
    ("versions.tf", include_str!("../templates/versions.tf")),
];

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrittenFile {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: usize,
}

/// All files for an image, by name.
///
/// # Errors
/// When the image has so many regions that a template is longer than CloudFormation takes.
pub fn render(image: &PublishedImage) -> Result<Vec<Rendered>, Error> {
    let mut files = Vec::new();
    for (name, text) in MODULE {
        files.push(Rendered { name: name.to_owned(), text: filled(name, text, image, &Stack::default())? });
    }
    for masters in MASTERS {
        let stack = Stack { what: "masters", role: "master", ready: "MastersReady", masters, public: false };
        let name = format!("masters-{masters}.yaml");
        files.push(cloudformation(name, include_str!("../templates/masters.yaml"), image, &stack)?);
    }
    for (what, role, public) in [("private agents", "slave", false), ("public agents", "slave_public", true)]
    {
        let stack = Stack { what, role, ready: "Agents", masters: 0, public };
        let name = format!("{}.yaml", what.replace(' ', "-"));
        files.push(cloudformation(name, include_str!("../templates/agents.yaml"), image, &stack)?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Writes all files for an image, and their sums, into `directory`: all or none.
///
/// # Errors
/// When a template becomes too long, or the directory does not take files.
pub fn write(image: &PublishedImage, directory: &Path) -> Result<Vec<WrittenFile>, Error> {
    let mut files = render(image)?;
    let sum = |file: &Rendered| Digest::of(file.text.as_bytes());
    let sums = files.iter().map(|file| format!("{}  {}\n", sum(file), file.name)).collect();
    files.push(Rendered { name: SUMS.to_owned(), text: sums });
    put(&files, directory).map_err(Error::file("writing to", directory))?;
    let written =
        |file: &Rendered| WrittenFile { name: file.name.clone(), sha256: sum(file), size: file.text.len() };
    Ok(files.iter().map(written).collect())
}

fn put(files: &[Rendered], directory: &Path) -> io::Result<()> {
    let mut set = OutputSet::new(directory)?;
    for file in files {
        (&*set.create(&file.name)?).write_all(file.text.as_bytes())?;
    }
    set.publish()
}

/// What a template of CloudFormation makes.
#[derive(Default)]
struct Stack {
    what: &'static str,
    /// The role of its hosts.
    role: &'static str,
    /// The resource that waits for their signals.
    ready: &'static str,
    masters: usize,
    public: bool,
}

fn cloudformation(
    name: String,
    template: &str,
    image: &PublishedImage,
    stack: &Stack,
) -> Result<Rendered, Error> {
    let signal = include_str!("../templates/signal.py");
    let user_data = include_str!("../templates/user-data.yaml");
    let user_data = user_data.replace("ROLE", stack.role).replace("RESOURCE", stack.ready);
    let user_data = carried(&user_data, "SIGNAL", signal);
    let text = carried(&filled(&name, template, image, stack)?, "USER_DATA", &user_data);
    if text.len() > TEMPLATE_LIMIT {
        let problem = format!(
            "`{name}` would have {} bytes: expected at most {TEMPLATE_LIMIT}; publish to fewer regions",
            text.len()
        );
        return Err(Error::unfit("the published manifest", problem));
    }
    Ok(Rendered { name, text })
}

fn filled(name: &str, template: &str, image: &PublishedImage, stack: &Stack) -> Result<String, Error> {
    let hosts = match stack.masters {
        0 => stack.what.to_owned(),
        1 => "one master".to_owned(),
        masters => format!("{masters} masters"),
    };
    let regions: Vec<_> = image.regions.keys().map(String::as_str).collect();
    let values = context! {
        image => Value::from(Serde(image)),
        description => format!("DC/OS cluster: {hosts}, from the image {}", image.name),
        not_here => format!("The image is published in {}.", regions.join(", ")),
        instance_type => if image.architecture == "arm64" { "m6g.xlarge" } else { "m5.xlarge" },
        width => regions.iter().map(|region| region.len()).max(),
        what => stack.what,
        masters => stack.masters,
        public => stack.public,
        ports => MASTER_PORTS,
        overlay => OVERLAY,
    };
    let rendered = environment().render_named_str(name, template, values);
    rendered.map_err(|error| Error::unfit(format_args!("template `{name}`"), error))
}

/// Values are written as JSON; only what a template itself calls safe is put as it is.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Lines of nothing but blocks leave no empty lines, and the last line break stays.
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().unwrap_or_default());
    environment.set_formatter(|out, _, value| {
        let json = || serde_json::to_string(value).unwrap_or_default();
        Ok(out.write_str(&if value.is_safe() { value.to_string() } else { json() })?)
    });
    environment
}

/// `text` with `lines` in the place of its line `mark`, as far to the right.
fn carried(text: &str, mark: &str, lines: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        if line.trim() != mark {
            out.push_str(line);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        for line in lines.lines() {
            out.push_str(if line.is_empty() { "" } else { indent });
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> PublishedImage {
        PublishedImage::parse(crate::published::tests::text().as_bytes(), "p").unwrap()
    }

    fn file(name: &str, image: &PublishedImage) -> String {
        render(image).unwrap().into_iter().find(|file| file.name == name).unwrap().text
    }

    #[test]
    fn every_template_has_the_ami_of_every_region() {
        for file in render(&image()).unwrap() {
            let has_images = file.name.contains(".yaml") || file.name == "images.tf";
            for (region, ids) in image().regions {
                assert_eq!(file.text.contains(&region), has_images, "{}", file.name);
                assert_eq!(file.text.contains(&ids.ami), has_images, "{}", file.name);
            }
        }
    }

    #[test]
    fn nothing_of_a_template_is_left() {
        for file in render(&image()).unwrap() {
            for mark in
                ["{{ ", "{% if", "{% for", "{% end", "USER_DATA", "SIGNAL\n", "Id} RESOURCE", "roles/ROLE"]
            {
                assert!(!file.text.contains(mark), "{mark} in {}", file.name);
            }
        }
    }

    #[test]
    fn machines_are_of_the_architecture_of_the_image() {
        let arm = PublishedImage { architecture: "arm64".into(), ..image() };
        for name in ["masters-1.yaml", "variables.tf"] {
            assert!(file(name, &image()).contains("m5.xlarge"));
            assert!(file(name, &arm).contains("m6g.xlarge"));
        }
    }

    #[test]
    fn templates_stay_below_what_clouds_take_with_every_region_there_is() {
        let mut many = image();
        let ids = many.regions["eu-central-1"].clone();
        for at in 0..60 {
            many.regions.insert(format!("ap-southeast-{at}"), ids.clone());
        }
        render(&many).unwrap();
        for at in 0..1000 {
            many.regions.insert(format!("ap-southeast-{at}"), ids.clone());
        }
        let error = render(&many).unwrap_err().to_string();
        assert!(error.contains("publish to fewer regions"), "{error}");
    }
}
