//! The few calls of EC2: its Query protocol, version 2016-11-15, signed with version 4, and answers in XML.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use super::fault;
use super::retry::{self, Limits, Watch};
use crate::{Error, Fault, FaultKind};

const VERSION: &str = "2016-11-15";
/// An answer that is larger is none of EC2's.
const ANSWER: usize = 32 << 20;

/// A client of one region.
#[derive(Clone, Debug)]
pub(super) struct Ec2 {
    endpoint: String,
    region: String,
    credentials: SharedCredentialsProvider,
    connector: SharedHttpConnector,
    watch: Watch,
}

/// Names and values of a call, in order.
pub(super) type Parameters = Vec<(String, String)>;

/// Parameters from names and values.
pub(super) fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Ec2 {
    /// A client with the endpoint that the configuration names for EC2 or for all services, or the region's own.
    pub(super) async fn new(
        config: &SdkConfig,
        region: &str,
        connector: SharedHttpConnector,
        watch: Watch,
    ) -> Result<Self, Error> {
        let key = ServiceConfigKey::builder()
            .service_id("ec2")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let key = key.map_err(|error| Error::service("the endpoint of EC2", error))?;
        let own = config.service_config().and_then(|config| config.load_config(key));
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let service = if config.use_fips() == Some(true) { "ec2-fips" } else { "ec2" };
        let endpoint = own
            .or_else(|| config.endpoint_url().map(str::to_owned))
            .unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"));
        let credentials =
            config.credentials_provider().ok_or_else(|| no_credentials("none are configured"))?;
        // Asked once at the beginning, so that their absence is told before any work.
        credentials.provide_credentials().await.map_err(|error| no_credentials(&fault::chain(&error)))?;
        let endpoint = endpoint.trim_end_matches('/').to_owned() + "/";
        Ok(Self { endpoint, region: region.into(), credentials, connector, watch })
    }

    /// Does one action; `action` is as IAM has it, `ec2:DescribeImages` say. Repeats what may pass.
    pub(super) async fn call(
        &self,
        action: &'static str,
        limits: Limits,
        parameters: Parameters,
    ) -> Result<Answer, Box<Fault>> {
        let name = action.trim_start_matches("ec2:");
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body: String = [("Action", name), ("Version", VERSION)]
            .into_iter()
            .chain(parameters)
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        retry::retry(action, limits, (None, &self.watch), || self.attempt(action, &body)).await.map(Answer)
    }

    async fn attempt(&self, action: &'static str, body: &str) -> Result<String, Fault> {
        let fail =
            |kind| move |error: &(dyn std::error::Error + 'static)| fault::of_network(action, error, kind);
        let credentials =
            self.credentials.provide_credentials().await.map_err(|error| fail(FaultKind::Final)(&error))?;
        let request = self.signed(credentials, body).map_err(|error| fail(FaultKind::Final)(&*error))?;
        let response =
            self.connector.call(request).await.map_err(|error| fail(FaultKind::Passing)(&error))?;
        let (status, text) = text_of(response).await.map_err(|error| fail(FaultKind::Passing)(&*error))?;
        if (200..300).contains(&status) { Ok(text) } else { Err(refusal(action, status, &text)) }
    }

    fn signed(
        &self,
        credentials: Credentials,
        body: &str,
    ) -> Result<HttpRequest, Box<dyn std::error::Error + Send + Sync>> {
        const HEADER: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ec2")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST")?;
        request.set_uri(self.endpoint.as_str())?;
        request.headers_mut().insert(HEADER.0, HEADER.1);
        let signable = SignableRequest::new(
            "POST",
            self.endpoint.as_str(),
            [HEADER].into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let mut request = request.try_into_http1x()?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(HttpRequest::try_from(request)?)
    }
}

fn no_credentials(reason: &str) -> Error {
    Error::unfit(
        "credentials of AWS",
        format!(
            "{reason}; set AWS_PROFILE or --profile, log in with `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ),
    )
}

async fn text_of(response: HttpResponse) -> Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
    let status = response.status().as_u16();
    let mut body = ByteStream::new(response.into_body());
    let mut bytes = Vec::new();
    while let Some(part) = body.try_next().await? {
        bytes.extend_from_slice(&part);
        if bytes.len() > ANSWER {
            return Err("the answer is larger than any of EC2's".into());
        }
    }
    Ok((status, String::from_utf8(bytes)?))
}

/// What an answer other than success says.
fn refusal(action: &'static str, status: u16, text: &str) -> Fault {
    let document = roxmltree::Document::parse(text).ok();
    let find = |name: &str| {
        let found = document.as_ref()?.descendants().find(|node| node.has_tag_name(name));
        found.and_then(|node| node.text()).map(str::to_owned)
    };
    let code = find("Code");
    let message = find("Message").unwrap_or_else(|| format!("status {status}"));
    let kind = fault::kind(code.as_deref(), Some(status));
    Fault { action, code, message, request_id: find("RequestID"), kind, attempts: 1 }
}

/// An answer in XML.
#[derive(Debug)]
pub(super) struct Answer(String);

impl Answer {
    /// Gives the document to `read`; `None` where it is not what was expected.
    pub(super) fn read<T>(
        &self,
        action: &str,
        read: impl FnOnce(roxmltree::Node<'_, '_>) -> Option<T>,
    ) -> Result<T, Error> {
        let document = roxmltree::Document::parse(&self.0);
        let document = document
            .map_err(|error| Error::service(action, format_args!("the answer is no XML: {error}")))?;
        read(document.root_element()).ok_or_else(|| {
            Error::service(action, "the answer lacks what EC2 always says; check the endpoint")
        })
    }
}

/// The child of a name, in whatever namespace: EC2's has the version in it.
pub(super) fn child<'a>(node: roxmltree::Node<'a, 'a>, name: &str) -> Option<roxmltree::Node<'a, 'a>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of a child.
pub(super) fn text<'a>(node: roxmltree::Node<'a, 'a>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The items of a list.
pub(super) fn items<'a>(
    node: roxmltree::Node<'a, 'a>,
    name: &str,
) -> impl Iterator<Item = roxmltree::Node<'a, 'a>> {
    let children = child(node, name).into_iter().flat_map(|list| list.children());
    children.filter(|child| child.tag_name().name() == "item")
}

/// Percent-encodes all but what URLs always may have (RFC 3986, section 2.3).
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_as_forms_have_them() {
        assert_eq!(encode("Aa0-_.~ /+=é"), "Aa0-_.~%20%2F%2B%3D%C3%A9");
    }

    #[test]
    fn a_refusal_has_its_code_its_message_and_its_request() {
        let text = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>not you</Message></Error>\
                    </Errors><RequestID>r-7</RequestID></Response>";
        let fault = refusal("ec2:RegisterImage", 403, text);
        assert_eq!(fault.code.as_deref(), Some("UnauthorizedOperation"));
        assert!(fault.to_string().contains("not you (request r-7)"));
        assert_eq!(refusal("ec2:RegisterImage", 502, "<html>").kind, FaultKind::Passing);
        assert_eq!(refusal("ec2:RegisterImage", 502, "").message, "status 502");
    }

    #[test]
    fn answers_are_read_in_any_namespace() {
        let answer = Answer("<R xmlns='http://ec2/'><s><item><a> x </a></item><item/></s></R>".into());
        let read = answer.read("ec2:X", |root| {
            Some(items(root, "s").filter_map(|item| text(item, "a").map(str::to_owned)).collect::<Vec<_>>())
        });
        assert_eq!(read.unwrap(), ["x"]);
        assert!(Answer("nonsense".into()).read("ec2:X", |_| Some(())).is_err());
        assert!(Answer("<R/>".into()).read("ec2:X", |root| text(root, "a").map(str::to_owned)).is_err());
    }
}
