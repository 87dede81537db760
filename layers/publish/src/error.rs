//! What can go wrong, and what to do then.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why nothing was published, verified or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be used.
    #[error("{operation} `{}` failed", path.display())]
    File {
        /// What was tried, as in `reading`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The image is no container that can be read.
    #[error("`{}` cannot be opened as an image", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: bake_disk::container::OpenError,
    },
    /// Options make no sense, or not together.
    #[error("{}", .0.join("\n  "))]
    Options(Vec<String>),
    /// An input is not what it has to be.
    #[error("{what}: {problem}")]
    Unfit {
        /// Which input.
        what: String,
        /// What is wrong, what was expected, and the remedy.
        problem: String,
    },
    /// A disk is not what its manifest says.
    #[error("{what} is not what was expected: {problem}")]
    Differs {
        /// What was examined.
        what: String,
        /// Where it differs.
        problem: String,
    },
    /// A service has refused or not answered.
    #[error(transparent)]
    Fault(#[from] Box<Fault>),
    /// A service has made something other than what it was asked for, or takes longer than anybody wants to wait.
    #[error("{what}: {problem}")]
    Service {
        /// Of what.
        what: String,
        /// What happened, and what to do.
        problem: String,
    },
    /// A disk is not all there yet.
    #[error("{source}; what was fetched is kept in `{}`, and the same command goes on from there", part.display())]
    Unfinished {
        /// Where.
        part: PathBuf,
        /// Why.
        source: Box<Self>,
    },
    /// A signal has come; the next run goes on where this one was.
    #[error("stopped: run the same command again to go on where it stopped")]
    Stopped,
}

impl Error {
    /// For `map_err` of what is done with a file.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    pub(crate) fn unfit(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Unfit { what: what.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn differs(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Differs { what: what.to_string(), problem: problem.to_string() }
    }

    #[cfg(feature = "aws")]
    pub(crate) fn service(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Service { what: what.to_string(), problem: problem.to_string() }
    }
}

/// How a request failed, which decides whether it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Too many requests: try again, and slower.
    Throttled,
    /// No answer, or the service's own failure: try again.
    Passing,
    /// What was just made is not known yet: try again for a while.
    NotYet,
    /// Anything else: asking again gives the same answer.
    Final,
}

/// A request that failed for good.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The request, as in `ebs:PutSnapshotBlock`.
    pub action: &'static str,
    /// The service's name for the failure, if it gave one.
    pub code: Option<String>,
    /// What the service, or the network, said.
    pub message: String,
    /// The service's id of the request, by which its support finds it.
    pub request_id: Option<String>,
    /// Whether it may pass.
    pub kind: FaultKind,
    /// How often it was tried.
    pub attempts: u32,
}

impl Fault {
    /// What to do about it, if there is one obvious thing.
    pub fn advice(&self) -> Option<String> {
        let action = self.action;
        let said = self.message.to_ascii_lowercase();
        Some(match self.code.as_deref().unwrap_or("") {
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "Client.UnauthorizedOperation"
                if said.contains("kms") =>
            {
                "the key's policy must let these credentials use it (kms:CreateGrant, kms:Decrypt, kms:DescribeKey, \
                 kms:GenerateDataKeyWithoutPlaintext, kms:ReEncrypt*)"
                    .into()
            }
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "Client.UnauthorizedOperation" => format!(
                "these credentials may not do {action}: `bake publish ami --iam-policy` prints the policy that they need"
            ),
            "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
                "the credentials have expired: get new ones (`aws sso login`, say) and run the same command again, \
                 which goes on where it stopped"
                    .into()
            }
            "UnrecognizedClientException" | "InvalidClientTokenId" | "AuthFailure" | "InvalidSignatureException"
            | "SignatureDoesNotMatch" | "IncompleteSignature" | "MissingAuthenticationToken" => {
                "the service does not accept the credentials: check the key, its session token, the profile, that the \
                 region is enabled for the account, and this machine's clock"
                    .into()
            }
            "OptInRequired" => "enable the region for the account, or leave it out".into(),
            "ServiceQuotaExceededException" | "ConcurrentLimitExceededException" | "SnapshotLimitExceeded"
            | "PendingSnapshotLimitExceeded" | "ResourceLimitExceeded" => {
                "a quota of the account is used up (pending snapshots: 100 by default): complete or delete pending \
                 snapshots, or ask for more in Service Quotas"
                    .into()
            }
            "ConflictException" | "IdempotentParameterMismatch" => {
                "another run has begun the same snapshot with other parameters: give the parameters of that run, or \
                 delete its pending snapshot"
                    .into()
            }
            "ResourceNotFoundException" | "InvalidSnapshot.NotFound" => {
                "the snapshot does not exist in this region, or was deleted: if it was this run's own, remove the \
                 journal beside the image and run again"
                    .into()
            }
            "InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable" => {
                "check the id and the region, and that the AMI is shared with this account".into()
            }
            "InvalidAMIName.Duplicate" => {
                "choose another --name, or deregister the AMI that has it".into()
            }
            "RequestThrottledException" | "ThrottlingException" | "RequestLimitExceeded" | "Throttling"
            | "SlowDown" => {
                "other work uses up the account's rate of requests: run again later, which goes on where it stopped, \
                 or ask for a higher rate in Service Quotas"
                    .into()
            }
            _ if self.kind == FaultKind::Passing => {
                "check the network and the endpoint, then run the same command again, which goes on where it stopped"
                    .into()
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.action)?;
        if self.attempts > 1 {
            write!(f, " {} times", self.attempts)?;
        }
        match &self.code {
            Some(code) => write!(f, ": {code}: {}", self.message)?,
            None => write!(f, ": {}", self.message)?,
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        self.advice().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl std::error::Error for Fault {}
