//! Failures of requests, as the SDK, EC2 and the network tell them.

use std::error::Error as StdError;

use aws_sdk_ebs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::{Fault, FaultKind};

/// What a code and a status say of trying again.
pub(super) fn kind(code: Option<&str>, status: Option<u16>) -> FaultKind {
    match (code.unwrap_or(""), status) {
        (
            "RequestThrottledException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "SlowDown"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "EC2ThrottledException",
            _,
        )
        | (_, Some(429)) => FaultKind::Throttled,
        (
            "ResourceNotFoundException"
            | "InvalidSnapshot.NotFound"
            | "InvalidAMIID.NotFound"
            | "InvalidAMIID.Unavailable",
            _,
        ) => FaultKind::NotYet,
        (
            "InternalServerException"
            | "InternalError"
            | "InternalFailure"
            | "ServiceUnavailable"
            | "Unavailable",
            _,
        )
        | (_, Some(500..=599 | 408)) => FaultKind::Passing,
        _ => FaultKind::Final,
    }
}

/// A failure of a call of the SDK.
pub(super) fn of_sdk<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let header = error.raw_response().and_then(|response| response.headers().get("x-amzn-requestid"));
    let request_id = header.map(str::to_owned);
    let code = error.code().map(str::to_owned);
    let kind = match &error {
        SdkError::ServiceError(_) => kind(code.as_deref(), status),
        // Without credentials nothing is sent at all.
        SdkError::ConstructionFailure(_) => FaultKind::Final,
        SdkError::DispatchFailure(failure) if failure.is_user() || is_about_credentials(&error) => {
            FaultKind::Final
        }
        _ => FaultKind::Passing,
    };
    let message = error.message().map_or_else(|| chain(&error), str::to_owned);
    Fault { action, code, message, request_id, kind, attempts: 1 }
}

fn is_about_credentials<E: StdError + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    chain(error).contains("credentials")
}

/// A failure of the network, or of what comes before it.
pub(super) fn of_network(action: &'static str, error: &(dyn StdError + 'static), kind: FaultKind) -> Fault {
    Fault { action, code: None, message: chain(error), request_id: None, kind, attempts: 1 }
}

/// An attempt that took too long.
pub(super) fn late(action: &'static str, seconds: u64) -> Fault {
    let message = format!("no answer within {seconds} s");
    Fault { action, code: None, message, request_id: None, kind: FaultKind::Passing, attempts: 1 }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (code, status, expected) in [
            (Some("RequestThrottledException"), Some(400), FaultKind::Throttled),
            (Some("RequestLimitExceeded"), Some(503), FaultKind::Throttled),
            (None, Some(429), FaultKind::Throttled),
            (Some("ResourceNotFoundException"), Some(404), FaultKind::NotYet),
            (None, Some(502), FaultKind::Passing),
            (Some("AccessDeniedException"), Some(403), FaultKind::Final),
            (Some("UnauthorizedOperation"), Some(403), FaultKind::Final),
            (Some("ExpiredTokenException"), Some(403), FaultKind::Final),
            (Some("ValidationException"), Some(400), FaultKind::Final),
            (None, Some(404), FaultKind::Final),
        ] {
            assert_eq!(kind(code, status), expected, "{code:?}");
        }
    }

    #[test]
    fn refusals_tell_what_to_do() {
        let fault = |code: &str, message: &str| Fault {
            action: "ebs:StartSnapshot",
            code: Some(code.into()),
            message: message.into(),
            request_id: Some("r-1".into()),
            kind: FaultKind::Final,
            attempts: 1,
        };
        for (code, message, expected) in [
            ("AccessDeniedException", "no", "--iam-policy"),
            ("AccessDeniedException", "KMS key", "kms:CreateGrant"),
            ("ExpiredTokenException", "old", "goes on where it stopped"),
            ("UnrecognizedClientException", "who", "session token"),
            ("ConflictException", "x", "other parameters"),
            ("InvalidAMIName.Duplicate", "x", "another --name"),
        ] {
            let text = fault(code, message).to_string();
            assert!(text.starts_with("ebs:StartSnapshot failed: ") && text.contains(expected), "{text}");
            assert!(text.contains("(request r-1)"));
        }
        assert_eq!(fault("ValidationException", "x").advice(), None);
    }
}
