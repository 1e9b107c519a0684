//! A proxy on 127.0.0.1 between the binary and the emulator: it lets every call take as long as on AWS, refuses what AWS's
//! rates would refuse, and counts. Connections are kept alive on both sides, so that it costs next to nothing itself.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::quotas::Quotas;

/// How long calls take, from a request's coming to its answer's leaving; longer only where the emulator is slower.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) call: Duration,
    pub(crate) create_function: Duration,
    pub(crate) create_user_pool: Duration,
    pub(crate) create_domain: Duration,
    /// A read or write of the state, where it is in S3.
    pub(crate) s3: Duration,
    /// From `CreateRole`'s answer until Lambda may assume the role.
    pub(crate) propagation: Duration,
}

impl Latency {
    pub(crate) const AWS: Self = Self {
        call: Duration::from_millis(150),
        create_function: Duration::from_millis(800),
        create_user_pool: Duration::from_millis(600),
        create_domain: Duration::from_millis(800),
        s3: Duration::from_millis(50),
        propagation: Duration::from_secs(6),
    };

    /// The same for every call, and roles are good at once.
    pub(crate) fn flat(millis: u64) -> Self {
        let call = Duration::from_millis(millis);
        Self {
            call,
            create_function: call,
            create_user_pool: call,
            create_domain: call,
            s3: call,
            propagation: Duration::ZERO,
        }
    }

    fn of(self, request: &Request) -> Duration {
        match (request.service, request.operation.as_str()) {
            ("s3", _) => self.s3,
            (_, "CreateFunction") => self.create_function,
            (_, "CreateUserPool") => self.create_user_pool,
            (_, "CreateUserPoolDomain") => self.create_domain,
            _ => self.call,
        }
    }
}

/// One call that came by.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `sts`, …, or `api` for what no AWS tool but a caller of the API asks: tokens, keys, and the API itself.
    pub(crate) service: &'static str,
    pub(crate) operation: String,
    /// The same for the same request.
    pub(crate) fingerprint: u64,
    /// The length of the request in bytes, with its head.
    pub(crate) sent: usize,
    pub(crate) status: u16,
}

impl Call {
    pub(crate) fn is_read(&self) -> bool {
        ["Get", "List", "Describe"]
            .iter()
            .any(|verb| self.operation.starts_with(verb))
    }
}

/// A running proxy; it ends with the process.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    /// Connections to the emulator that wait for a request.
    idle: Mutex<Vec<TcpStream>>,
    /// The emulator answers one request after another; a crowd only slows it down.
    at_once: Semaphore,
    told: Mutex<Told>,
}

struct Told {
    latency: Latency,
    quotas: Option<Quotas>,
    /// When Lambda may assume each role.
    roles: HashMap<String, Instant>,
    calls: Vec<Call>,
}

impl Proxy {
    /// Between a free port and the emulator at `endpoint`.
    pub(crate) fn start(endpoint: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            upstream: endpoint.strip_prefix("http://").unwrap().to_owned(),
            idle: Mutex::default(),
            at_once: Semaphore::new(8),
            told: Mutex::new(Told {
                latency: Latency::default(),
                quotas: None,
                roles: HashMap::new(),
                calls: Vec::new(),
            }),
        });
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let kept = shared.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    client.set_nodelay(true).unwrap();
                    let shared = kept.clone();
                    tokio::spawn(async move { serve(client, &shared).await });
                }
            });
        });
        Self { endpoint, shared }
    }

    /// From now on.
    pub(crate) fn set(&self, latency: Latency, quotas: Option<Quotas>) {
        let mut told = self.shared.told.lock().unwrap();
        told.latency = latency;
        told.quotas = quotas;
        told.roles.clear();
    }

    /// What came by since the last call of this.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.shared.told.lock().unwrap().calls)
    }
}

struct Request {
    service: &'static str,
    operation: String,
    fingerprint: u64,
    body: Value,
    role_name: Option<String>,
}

/// Everything that comes over one connection.
async fn serve(mut client: TcpStream, shared: &Shared) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let end = message(&mut client, &mut buffer, None).await?;
        let arrived = Instant::now();
        let bytes = buffer.drain(..end).collect::<Vec<u8>>();
        let request = read(&bytes)?;
        let refusal = refuse(&request, shared, arrived);
        let latency = shared.told.lock().unwrap().latency;
        let (answer, due) = match refusal {
            Some(answer) => (answer, arrived + latency.call),
            None => (
                forward(&with_host(&bytes, &shared.upstream)?, shared).await?,
                arrived + latency.of(&request),
            ),
        };
        let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
        let answered = due.max(Instant::now());
        {
            let mut told = shared.told.lock().unwrap();
            if let Some(role) = &request.role_name
                && request.operation == "CreateRole"
            {
                told.roles.insert(role.clone(), answered + latency.propagation);
            }
            told.calls.push(Call {
                service: request.service,
                operation: request.operation,
                fingerprint: request.fingerprint,
                sent: bytes.len(),
                status,
            });
        }
        if !latency.call.is_zero() {
            tokio::time::sleep_until(due.into()).await;
        }
        client.write_all(&answer).await.ok()?;
    }
}

/// The request as the emulator takes it: it answers to no other name than its own.
fn with_host(request: &[u8], host: &str) -> Option<Vec<u8>> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")?;
    let lines = std::str::from_utf8(&request[..end]).ok()?.split("\r\n");
    let kept: Vec<&str> = lines
        .filter(|line| !line.to_ascii_lowercase().starts_with("host:"))
        .collect();
    let head = format!("{}\r\nhost: {host}", kept.join("\r\n"));
    Some([head.as_bytes(), &request[end..]].concat())
}

/// AWS's refusal, where it would refuse.
fn refuse(request: &Request, shared: &Shared, now: Instant) -> Option<Vec<u8>> {
    let mut told = shared.told.lock().unwrap();
    let error = |status: &str, code: &str, message: &str| {
        let body = format!(r#"{{"__type":"{code}","message":"{message}"}}"#);
        let head = format!(
            "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\nx-amzn-errortype: {code}\r\ncontent-length: {}",
            body.len()
        );
        Some(format!("{head}\r\n\r\n{body}").into_bytes())
    };
    let pool = request.body["UserPoolId"].as_str().unwrap_or_default();
    if let Some(quotas) = &mut told.quotas
        && !quotas.admit(request.service, &request.operation, pool)
    {
        let status = if request.service == "cognito-idp" {
            "400"
        } else {
            "429"
        };
        return error(status, "TooManyRequestsException", "Too Many Requests");
    }
    if request.operation == "CreateFunction" {
        let role = request.body["Role"].as_str()?.rsplit('/').next()?;
        if told.roles.get(role).is_some_and(|good| now < *good) {
            return error(
                "400",
                "InvalidParameterValueException",
                "The role defined for the function cannot be assumed by Lambda.",
            );
        }
    }
    None
}

/// The emulator's answer.
async fn forward(request: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let _permit = shared.at_once.acquire().await.ok()?;
    loop {
        let kept = shared.idle.lock().unwrap().pop();
        let fresh = kept.is_none();
        let mut server = match kept {
            Some(server) => server,
            None => TcpStream::connect(&shared.upstream).await.ok()?,
        };
        server.set_nodelay(true).ok()?;
        let mut buffer = Vec::new();
        if server.write_all(request).await.is_ok()
            && let Some(end) = message(&mut server, &mut buffer, Some(request)).await
        {
            buffer.truncate(end);
            shared.idle.lock().unwrap().push(server);
            return Some(buffer);
        }
        // The emulator closes a connection that was idle for a while; another one will do.
        if fresh {
            return None;
        }
    }
}

/// Reads until the buffer has a whole message, and says where that ends; `None` if the other side is gone. An answer needs
/// the request that it answers.
async fn message(stream: &mut TcpStream, buffer: &mut Vec<u8>, answers: Option<&[u8]>) -> Option<usize> {
    loop {
        if let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = std::str::from_utf8(&buffer[..head]).ok()?;
            let body = head + 4;
            let has_no_body =
                |request: &[u8]| request.starts_with(b"HEAD ") || text.get(9..12) == Some("204");
            let end = if answers.is_some_and(has_no_body) {
                Some(body)
            } else if header(text, "transfer-encoding").is_some() {
                // Long enough to be the end of the last chunk, and nobody sends a second answer unasked.
                buffer[head..].ends_with(b"\r\n0\r\n\r\n").then_some(buffer.len())
            } else {
                let length = header(text, "content-length").map_or(Ok(0), str::parse).ok()?;
                Some(body + length).filter(|end| buffer.len() >= *end)
            };
            if end.is_some() {
                return end;
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(header, _)| header.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// What is asked for.
fn read(bytes: &[u8]) -> Option<Request> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let body = &bytes[end + 4..];
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let form = std::str::from_utf8(body).unwrap_or_default();
    let field = |name: &str| {
        let pair = form.split('&').find_map(|pair| pair.strip_prefix(name))?;
        pair.strip_prefix('=').map(str::to_owned)
    };
    let plain = path.split('?').next()?;
    let parts: Vec<&str> = plain.split('/').skip(1).collect();
    let is_for_s3 = header(head, "authorization").is_some_and(|signed| signed.contains("/s3/aws4_request"));
    let (service, operation) = if is_for_s3 {
        ("s3", method.to_owned())
    } else if let Some(target) = header(head, "x-amz-target") {
        let service = if target.starts_with("Logs") {
            "logs"
        } else {
            "cognito-idp"
        };
        (service, target.rsplit('.').next()?.to_owned())
    } else if let Some(action) = field("Action") {
        ("iam", action)
    } else if parts.first().is_some_and(|part| part.starts_with("20")) {
        ("lambda", lambda(method, &parts[1..]))
    } else if ["oauth2", ".well-known", "_user_request_"]
        .iter()
        .any(|part| parts.contains(part))
    {
        ("api", format!("{method} {}", parts.last()?))
    } else {
        ("apigateway", api_gateway(method, &parts))
    };
    let mut hasher = DefaultHasher::new();
    (&operation, path, body).hash(&mut hasher);
    let wanted = operation == "CreateFunction" || service == "cognito-idp";
    Some(Request {
        service,
        fingerprint: hasher.finish(),
        body: if wanted {
            serde_json::from_slice(body).ok()?
        } else {
            Value::Null
        },
        role_name: field("RoleName"),
        operation,
    })
}

fn lambda(method: &str, parts: &[&str]) -> String {
    match (method, parts) {
        ("POST", ["functions"]) => "CreateFunction",
        ("GET", ["functions", _]) => "GetFunction",
        ("DELETE", ["functions", _]) => "DeleteFunction",
        ("POST", ["functions", _, "policy"]) => "AddPermission",
        ("GET", ["functions", _, "policy"]) => "GetPolicy",
        ("DELETE", ["functions", _, "policy", _]) => "RemovePermission",
        _ => return format!("{method} {}", parts.join("/")),
    }
    .to_owned()
}

fn api_gateway(method: &str, parts: &[&str]) -> String {
    match (method, parts) {
        ("POST", ["restapis"]) => "CreateRestApi",
        ("GET", ["restapis"]) => "GetRestApis",
        ("GET", ["restapis", _]) => "GetRestApi",
        ("PUT", ["restapis", _]) => "PutRestApi",
        ("DELETE", ["restapis", _]) => "DeleteRestApi",
        ("GET", ["restapis", _, "resources"]) => "GetResources",
        ("POST", ["restapis", _, "resources", _]) => "CreateResource",
        ("GET", ["restapis", _, "resources", _]) => "GetResource",
        ("DELETE", ["restapis", _, "resources", _]) => "DeleteResource",
        ("PUT", ["restapis", _, "resources", _, "methods", _]) => "PutMethod",
        ("GET", ["restapis", _, "resources", _, "methods", _]) => "GetMethod",
        ("PUT", ["restapis", _, "resources", _, "methods", _, "integration"]) => "PutIntegration",
        ("POST", ["restapis", _, "authorizers"]) => "CreateAuthorizer",
        ("GET", ["restapis", _, "authorizers", _]) => "GetAuthorizer",
        ("POST", ["restapis", _, "deployments"]) => "CreateDeployment",
        ("GET", ["restapis", _, "deployments", _]) => "GetDeployment",
        ("POST", ["restapis", _, "stages"]) => "CreateStage",
        ("GET", ["restapis", _, "stages", _]) => "GetStage",
        ("GET", _) => return format!("Get {}", parts.join("/")),
        ("DELETE", _) => return format!("Delete {}", parts.join("/")),
        _ => return format!("{method} {}", parts.join("/")),
    }
    .to_owned()
}
