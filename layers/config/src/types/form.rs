//! The forms of texts: their names in tables of parameters, and what they expect.

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
    /// A proxy: a URL, or a host and a port, without somebody's name and password; may be empty.
    Proxy,
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
    /// A server: an IPv4 address, with or without a port.
    Server,
    /// A DNS server that is asked: a server that is not one of the cluster's own.
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

/// Every form, its name in a table of parameters, and what it expects.
pub const FORMS: &[(Form, &str, &str)] = &[
    (Form::Line, "line", "a text of one line without control characters"),
    (Form::Word, "word", "a text of one line, not empty, without control characters and spaces at its ends"),
    (Form::Lines, "lines", "a text without control characters"),
    (Form::Url, "url", "a URL such as `https://host/path`"),
    (Form::HttpsUrl, "https-url", "a URL that begins with `https://`"),
    (
        Form::BaseUrl,
        "base-url",
        "a URL such as `http://host:port/path` or `file:///path`, without `/` at its end",
    ),
    (Form::HttpsBaseUrl, "https-base-url", "a URL that begins with `https://`, without `/` at its end"),
    (Form::Proxy, "proxy", "a proxy such as `http://host:port`"),
    (
        Form::AbsolutePath,
        "absolute-path",
        "a path such as `/var/lib/name`, without empty, `.` and `..` parts",
    ),
    (
        Form::RelativePath,
        "relative-path",
        "a path such as `var/name`, without `/` at its ends and empty, `.` and `..` parts",
    ),
    (Form::FileName, "file-name", "the name of a file, without `/`"),
    (Form::File, "file", "a path such as `genconf/ip-detect`, or `ready:NAME` for one that is shipped"),
    (Form::KeyPrefix, "key-prefix", "a prefix of keys without `/` at its end"),
    (Form::Ipv4, "ipv4", "an IPv4 address such as `192.0.2.1`"),
    (Form::Ipv6, "ipv6", "an IPv6 address such as `2001:db8::1`"),
    (Form::Ipv4Network, "ipv4-network", "an IPv4 network such as `192.0.2.0/24`"),
    (Form::Ipv6Network, "ipv6-network", "an IPv6 network such as `2001:db8::/64`"),
    (Form::Server, "server", "an IPv4 address, or one with a port such as `192.0.2.1:53`"),
    (Form::Resolver, "resolver", "an IPv4 address, or one with a port such as `192.0.2.1:53`"),
    (Form::DnsSearch, "dns-search", "at most 6 domains separated by spaces, in less than 256 characters"),
    (
        Form::Duration,
        "duration",
        "a number and one of ns, us, ms, secs, mins, hrs, days, weeks, such as `10mins`",
    ),
    (Form::Size, "size", "a whole number and one of B, KB, MB, GB, TB, such as `64MB`"),
    (Form::Colour, "colour", "a colour such as `#1E232F`"),
    (Form::FrameOptions, "frame-options", "`DENY`, `SAMEORIGIN` or `ALLOW-FROM` and a URL"),
    (Form::RsaPublicKey, "rsa-public-key", "an RSA public key in PEM"),
    (Form::ZooKeeperHosts, "zookeeper-hosts", "`host:port`, several separated by commas, without `zk://`"),
    (Form::ZooKeeperPath, "zookeeper-path", "a path of ZooKeeper such as `/name`, without `/` at its end"),
    (Form::Weights, "weights", "`role=weight`, several separated by commas, such as `web=2,batch=0.5`"),
    (
        Form::ProxyException,
        "proxy-exception",
        "a host, a suffix such as `.example.com`, an address or a network",
    ),
    (Form::Module, "module", "the name of a kernel module"),
    (Form::Command, "command", "the name of a command"),
];

impl Form {
    /// The form of a name in a table of parameters.
    pub fn named(name: &str) -> Option<Self> {
        FORMS.iter().find(|(_, known, _)| *known == name).map(|(form, ..)| *form)
    }

    /// What is expected, for messages.
    pub fn expected(self) -> &'static str {
        FORMS.iter().find(|(form, ..)| *form == self).map_or("a text", |(_, _, expected)| expected)
    }
}
