//! A region of AWS as its users know it: credentials, profiles, SSO, regions and endpoints by `aws-config`.

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::http::http_client_fn;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_types::region::Region;
use std::sync::Arc;
use std::time::Duration;

use super::ec2::Ec2;
use super::retry::Watch;
use crate::Error;
use crate::progress::Progress;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a read may bring nothing.
const READ: Duration = Duration::from_secs(15);

/// Clients of one region.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The region.
    pub region: String,
    /// Blocks of snapshots.
    pub ebs: aws_sdk_ebs::Client,
    /// Images, snapshots, tags.
    pub ec2: Ec2,
    /// Who hears that a service does not answer.
    pub watch: Watch,
}

impl Session {
    /// Finds the configuration and the credentials.
    pub(super) async fn open(
        region: &str,
        profile: Option<&str>,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let connector = SharedHttpConnector::new(connector());
        let shared = connector.clone();
        let client: SharedHttpClient = http_client_fn(move |_, _| shared.clone());
        // Time limits and repetitions are this crate's own (see `retry`): two layers of them multiply.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(client)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        let config = loader.load().await;
        let watch = Watch(Arc::clone(progress));
        let ec2 = Ec2::new(&config, region, connector, watch.clone()).await?;
        Ok(Self { region: region.to_owned(), ebs: aws_sdk_ebs::Client::new(&config), ec2, watch })
    }
}

/// One pool of connections for everything, with the proxies and the certificates of the machine.
fn connector() -> impl HttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    Connector::builder()
        .connector_settings(settings)
        .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build()
}
