use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use reqwest::Certificate;
use tempfile::TempDir;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const NAME: &str = "api.example.com";

/// A TLS server of OpenSSL, which answers as the API does; it ends with the test.
struct Server {
    folder: TempDir,
    port: u16,
    process: Child,
}

fn openssl(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// What the server answers from now on.
fn answer(folder: &Path, status: &str, message: &str) {
    let body = format!(r#"{{"message":"{message}"}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    fs_err::write(folder.join("nowhere"), answer).unwrap();
}

impl Server {
    /// With a certificate for `name`, and these options.
    fn start(name: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let made = openssl(
            folder.path(),
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                "key.pem",
                "-out",
                "certificate.pem",
                "-days",
                "2",
                "-subj",
                &format!("/CN={name}"),
                "-addext",
                &format!("subjectAltName=DNS:{name}"),
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
        )
        .status();
        assert!(made.unwrap().success());
        answer(folder.path(), "403 Forbidden", "Missing Authentication Token");
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let accept = format!("127.0.0.1:{port}");
        let mut args = vec![
            "s_server",
            "-accept",
            &accept,
            "-cert",
            "certificate.pem",
            "-key",
            "key.pem",
            "-HTTP",
            "-quiet",
        ];
        args.extend(options);
        let process = openssl(folder.path(), &args).spawn().unwrap();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            folder,
            port,
            process,
        }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// All probes of the domain, which leads to this server, whose certificate is trusted.
    async fn prove(&self, front: &Front) -> Vec<Probe> {
        let pem = fs_err::read(self.folder.path().join("certificate.pem")).unwrap();
        let http = Http::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(&pem).unwrap()])
            .resolve(NAME, self.address())
            .build()
            .unwrap();
        prove(
            &http,
            front,
            &Addresses::Resolved(vec![self.address()]),
            &nowhere(),
            Duration::ZERO,
        )
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn nowhere() -> Nowhere {
    Nowhere {
        verb: Method::GET,
        path: "/nowhere".to_owned(),
    }
}

fn front(server: &Server) -> Front {
    Front {
        name: NAME.to_owned(),
        url: format!("https://{NAME}:{}", server.port),
        target: Some("d-a1b2.execute-api.eu-west-1.amazonaws.com".to_owned()),
        oldest: Some(Version::Tls12),
        is_mutual: false,
        closed_url: None,
    }
}

/// What is wrong.
fn wrong(probes: &[Probe]) -> Vec<(Check, &str)> {
    let wrong = probes.iter().filter(|probe| !probe.ok);
    wrong.map(|probe| (probe.check, probe.got.as_str())).collect()
}

/// Takes TLS 1.0 as well, which OpenSSL must be told twice.
const OLD: [&str; 4] = ["-min_protocol", "TLSv1", "-cipher", "ALL:@SECLEVEL=0"];

#[tokio::test]
async fn a_domain_that_is_as_it_should_be_passes() {
    let server = Server::start(NAME, &["-min_protocol", "TLSv1.2"]);
    let probes = server.prove(&front(&server)).await;
    assert_eq!(wrong(&probes), []);
    let checks: Vec<Check> = probes.iter().map(|probe| probe.check).collect();
    assert_eq!(checks, [Check::Dns, Check::Domain, Check::OldTls, Check::OldTls]);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_found() {
    let server = Server::start("other.example.com", &["-min_protocol", "TLSv1.2"]);
    let probes = server.prove(&front(&server)).await;
    let [(Check::Domain, got)] = wrong(&probes)[..] else {
        panic!("{probes:?}");
    };
    assert!(got.contains("not valid for name"), "{got}");
}

#[tokio::test]
async fn an_answer_that_is_not_the_apis_is_found() {
    let server = Server::start(NAME, &["-min_protocol", "TLSv1.2"]);
    for (status, message, likely) in [
        ("200 OK", "Welcome", None),
        (
            "403 Forbidden",
            "Forbidden",
            Some("no mapping of the domain leads to the stage: run `provision status`"),
        ),
    ] {
        answer(server.folder.path(), status, message);
        let probes = server.prove(&front(&server)).await;
        let code = status.split(' ').next().unwrap();
        assert_eq!(
            wrong(&probes),
            [(Check::Domain, format!("{code} {message}").as_str())]
        );
        assert_eq!(probes[1].likely, likely);
    }
}

#[tokio::test]
async fn old_versions_of_tls_that_are_taken_are_found() {
    let server = Server::start(NAME, &OLD);
    let probes = server.prove(&front(&server)).await;
    assert_eq!(
        wrong(&probes),
        [
            (Check::OldTls, "TLS 1.0 is taken"),
            (Check::OldTls, "TLS 1.1 is taken")
        ]
    );
    // Where they are wanted they are not asked for, and TLS 1.2 is old for the newest policy.
    let wanted = Front {
        oldest: Some(Version::Tls10),
        ..front(&server)
    };
    assert_eq!(wrong(&server.prove(&wanted).await), []);
    let newest = Front {
        oldest: Some(Version::Tls13),
        ..front(&server)
    };
    assert_eq!(wrong(&server.prove(&newest).await).len(), 3);
    let server = Server::start(NAME, &["-tls1_3"]);
    let newest = Front {
        oldest: Some(Version::Tls13),
        ..front(&server)
    };
    assert_eq!(wrong(&server.prove(&newest).await), []);
}

#[tokio::test]
async fn a_server_that_asks_for_no_client_certificate_is_found() {
    let asks = Server::start(NAME, &["-Verify", "1", "-tls1_2"]);
    let mutual = |server: &Server| Front {
        is_mutual: true,
        ..front(server)
    };
    let probes = asks.prove(&mutual(&asks)).await;
    assert_eq!(wrong(&probes), []);
    assert_eq!(probes[1].check, Check::NoCertificate);

    let does_not = Server::start(NAME, &["-min_protocol", "TLSv1.2"]);
    assert_eq!(
        wrong(&does_not.prove(&mutual(&does_not)).await),
        [(Check::NoCertificate, "403 Missing Authentication Token")]
    );
    // A server that this program does not trust proves nothing.
    let theirs = Server::start("other.example.com", &["-Verify", "1", "-tls1_2"]);
    assert_eq!(wrong(&theirs.prove(&mutual(&theirs)).await).len(), 1);
}

#[tokio::test]
async fn a_default_endpoint_that_answers_is_found() {
    let server = Server::start(NAME, &["-min_protocol", "TLSv1.2"]);
    for (message, expected) in [
        ("Forbidden", None),
        (
            "Missing Authentication Token",
            Some("403 Missing Authentication Token"),
        ),
    ] {
        let aws = MockServer::start().await;
        let answer = ResponseTemplate::new(403).set_body_json(serde_json::json!({ "message": message }));
        Mock::given(any()).respond_with(answer).mount(&aws).await;
        let closed = Front {
            closed_url: Some(format!("{}/prod", aws.uri())),
            ..front(&server)
        };
        let probes = server.prove(&closed).await;
        let expected: Vec<_> = expected
            .map(|got| (Check::DefaultEndpoint, got))
            .into_iter()
            .collect();
        assert_eq!(wrong(&probes), expected);
        let asked = aws.received_requests().await.unwrap();
        assert!(
            asked
                .iter()
                .all(|request| !request.headers.contains_key("authorization"))
        );
    }
}

#[tokio::test]
async fn a_name_without_a_record_is_told_with_what_it_has_to_lead_to() {
    let server = Server::start(NAME, &["-min_protocol", "TLSv1.2"]);
    let unknown = Front {
        name: "api.example.invalid".to_owned(),
        target: Some("d-a1b2.example.invalid".to_owned()),
        ..front(&server)
    };
    let told = std::cell::RefCell::new(Vec::new());
    let found = dns::wait(
        &dns::resolve,
        &unknown.name,
        unknown.target.as_deref(),
        Duration::from_secs(1),
        &|line| {
            told.borrow_mut().push(line.to_owned());
        },
    )
    .await;
    assert!(matches!(found, Addresses::None));
    assert_eq!(
        *told.borrow(),
        ["waiting for api.example.invalid to resolve to d-a1b2.example.invalid"]
    );
    let probes = prove(&Http::new(), &unknown, &found, &nowhere(), Duration::ZERO).await;
    let probe = &probes[0];
    assert_eq!(
        (probes.len(), probe.ok, probe.got.as_str()),
        (1, false, "no record yet")
    );
    assert_eq!(probe.expected, "a record that leads to d-a1b2.example.invalid");
}

#[tokio::test]
async fn what_is_not_tls_and_nobody_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        drop(std::io::Read::read(&mut stream, &mut [0; 512]));
    });
    let said = offer(address, NAME, Version::Tls11).await;
    assert_eq!(said, Err("an answer that is not TLS".to_owned()));
    serving.join().unwrap();
    let said = offer(address, NAME, Version::Tls11).await.unwrap_err();
    assert!(said.starts_with("no connection to 127.0.0.1:"), "{said}");
}
