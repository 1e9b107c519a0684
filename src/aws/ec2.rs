//! The one call of EC2 that is made: EC2's crate would be as large as the other eight together.
//!
//! Must not know what the network interfaces are read for.

use std::collections::BTreeSet;
use std::fmt::Write;

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::call_log::CallLog;
use super::signed::{Answer, Decoded, Service, Signed};

const EC2: Service = Service {
    name: "EC2",
    signing: "ec2",
    target: "",
};

/// EC2, as far as it is called.
#[derive(Clone)]
pub struct Ec2(Signed);

/// One page of network interfaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub interfaces: Vec<Interface>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// `eni-…`.
    pub id: String,
    pub description: String,
    /// The id of its subnet.
    pub subnet: String,
    /// The ids of its security groups.
    pub groups: BTreeSet<String>,
}

impl Ec2 {
    /// As [`Signed::new`].
    pub(super) fn new(config: &SdkConfig, http: Option<SharedHttpClient>, log: Option<&CallLog>) -> Self {
        Self(Signed::new(EC2, config, http, log))
    }

    /// The network interfaces whose description begins so.
    ///
    /// # Errors
    /// The call failed.
    pub async fn describe_network_interfaces(&self, description: &str, page: Option<String>) -> Answer<Page> {
        let mut form =
            "Action=DescribeNetworkInterfaces&Version=2016-11-15&MaxResults=1000&Filter.1.Name=description"
                .to_owned();
        let mut add = |name: &str, value: &str| {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            write!(form, "&{name}={value}").expect("a string takes all that is written to it");
        };
        add("Filter.1.Value.1", &format!("{description}*"));
        if let Some(token) = page {
            add("NextToken", &token);
        }
        self.0.query("DescribeNetworkInterfaces", form, answer).await
    }
}

fn answer(answer: &HttpResponse) -> Decoded<Page> {
    let body = answer.body().bytes().unwrap_or_default();
    let text = std::str::from_utf8(body).map_err(OrchestratorError::other)?;
    if answer.status().is_success() {
        return page(text).map_err(OrchestratorError::other);
    }
    Err(OrchestratorError::operation(refusal(text)))
}

fn page(text: &str) -> Result<Page, XmlDecodeError> {
    let mut document = Document::new(text);
    let mut root = document.root_element()?;
    let mut page = Page::default();
    while let Some(mut tag) = root.next_tag() {
        match tag.start_el().local() {
            "networkInterfaceSet" => {
                while let Some(mut item) = tag.next_tag() {
                    page.interfaces.push(interface(&mut item)?);
                }
            }
            "nextToken" => {
                page.next = Some(try_data(&mut tag)?.into_owned()).filter(|token| !token.is_empty());
            }
            _ => {}
        }
    }
    Ok(page)
}

fn interface(item: &mut ScopedDecoder<'_, '_>) -> Result<Interface, XmlDecodeError> {
    let mut interface = Interface::default();
    while let Some(mut tag) = item.next_tag() {
        match tag.start_el().local() {
            "networkInterfaceId" => interface.id = try_data(&mut tag)?.into_owned(),
            "description" => interface.description = try_data(&mut tag)?.into_owned(),
            "subnetId" => interface.subnet = try_data(&mut tag)?.into_owned(),
            "groupSet" => {
                while let Some(mut group) = tag.next_tag() {
                    while let Some(mut part) = group.next_tag() {
                        if part.start_el().matches("groupId") {
                            interface.groups.insert(try_data(&mut part)?.into_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(interface)
}

/// The code and the message, wherever in the answer they are; none of what cannot be read.
fn refusal(text: &str) -> ErrorMetadata {
    let mut document = Document::new(text);
    let mut error = ErrorMetadata::builder();
    while let Some(element) = document.next_start_element() {
        let name = element.local().to_owned();
        if !["Code", "Message", "RequestID"].contains(&name.as_str()) {
            continue;
        }
        let Ok(value) = try_data(&mut document.scoped_to(element)) else {
            break;
        };
        error = match name.as_str() {
            "Code" => error.code(value),
            "Message" => error.message(value),
            _ => error.custom("aws_request_id", value),
        };
    }
    error.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::test_support::{ec2, ec2_ok, ec2_refused};
    use crate::aws::wait::once;
    use crate::resource::Class;

    #[tokio::test(start_paused = true)]
    async fn a_page_is_asked_for_signed_and_read() {
        let interface = "<item><networkInterfaceId>eni-0a</networkInterfaceId><subnetId>subnet-0a</subnetId><vpcId>vpc-0a</vpcId>\
             <description>AWS Lambda VPC ENI-f-1 &amp; more</description><groupSet><item><groupId>sg-0a</groupId><groupName>default\
             </groupName></item><item><groupId>sg-0b</groupId></item></groupSet><tagSet><item><key>description</key></item></tagSet>\
             <status>available</status></item>";
        let (cx, wire) = ec2([ec2_ok(interface, Some("t 2")), ec2_ok("", None)]);
        let ask = |page: Option<&str>| {
            let page = page.map(str::to_owned);
            cx.cloud()
                .ec2
                .describe_network_interfaces("AWS Lambda VPC ENI", page)
        };
        let first = ask(None).await.unwrap();
        assert_eq!(first.next.as_deref(), Some("t 2"));
        assert_eq!(
            first.interfaces,
            [Interface {
                id: "eni-0a".to_owned(),
                description: "AWS Lambda VPC ENI-f-1 & more".to_owned(),
                subnet: "subnet-0a".to_owned(),
                groups: ["sg-0a".to_owned(), "sg-0b".to_owned()].into(),
            }]
        );
        assert_eq!(ask(Some("t 2")).await.unwrap(), Page::default());
        let sent = wire.sent();
        let form = "Action=DescribeNetworkInterfaces&Version=2016-11-15&MaxResults=1000&Filter.1.Name=description\
                    &Filter.1.Value.1=AWS%20Lambda%20VPC%20ENI%2A";
        assert_eq!(sent[0].body, form);
        assert_eq!(sent[1].body, format!("{form}&NextToken=t%202"));
        assert_eq!(sent[0].url, "https://ec2.eu-central-1.amazonaws.com/");
        assert!(
            sent[0].authorization.contains("/eu-central-1/ec2/aws4_request"),
            "{}",
            sent[0].authorization
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_has_ec2s_code_and_words_and_its_class() {
        for (status, code, class) in [
            (403, "UnauthorizedOperation", Class::Denied),
            (401, "AuthFailure", Class::Credentials),
            (503, "RequestLimitExceeded", Class::Throttle),
            (400, "InvalidParameterValue", Class::Refused),
        ] {
            let (cx, wire) = ec2([ec2_refused(status, code, "the words of EC2")]);
            let asked = cx.cloud().ec2.describe_network_interfaces("x", None);
            let error = once("ec2:DescribeNetworkInterfaces", asked).await.unwrap_err();
            assert_eq!((error.class, error.code.as_deref()), (class, Some(code)));
            assert_eq!(error.message, "the words of EC2");
            assert_eq!(error.request_id.as_deref(), Some("r-1"));
            wire.sent();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_ec2s_is_an_error() {
        // As often as the SDK reads it.
        let broken = || ec2_ok("<item><networkInterfaceId><x/></networkInterfaceId></item>", None);
        let (cx, _) = ec2((0..10).map(|_| broken()));
        let asked = cx.cloud().ec2.describe_network_interfaces("x", None);
        let error = once("ec2:DescribeNetworkInterfaces", asked).await.unwrap_err();
        assert_eq!(error.class, Class::Ambiguous);
    }
}
