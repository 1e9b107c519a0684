//! A proxy on 127.0.0.1 between the binary and the emulator: it records every request, and interferes by a rule.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// In lower case; the signature is left out.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub status: u16,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// `CreateUserPool`, `CreateRole`, or `POST /restapis`: the operation.
    pub(crate) fn operation(&self) -> String {
        if let Some(target) = self.header("x-amz-target") {
            return target.rsplit('.').next().unwrap_or_default().to_owned();
        }
        let body = String::from_utf8_lossy(&self.body);
        if let Some(action) = body.split('&').find_map(|pair| pair.strip_prefix("Action=")) {
            return action.to_owned();
        }
        format!(
            "{} {}",
            self.method,
            self.path.split('?').next().unwrap_or_default()
        )
    }

    /// Whether this call is to AWS, not to the stack's own API, token endpoint or public keys.
    pub(crate) fn is_aws(&self) -> bool {
        !["/oauth2/", "/_user_request_", "/.well-known/"]
            .iter()
            .any(|part| self.path.contains(part))
    }

    /// The service: `cognito-idp`, `logs`, `secretsmanager`, `ssm`, `wafv2`, `iam`, `sts`, `ec2`, `lambda` or `apigateway`.
    pub(crate) fn service(&self) -> &'static str {
        match self.header("x-amz-target") {
            Some(target) if target.starts_with("Logs") => return "logs",
            Some(target) if target.starts_with("secretsmanager") => return "secretsmanager",
            Some(target) if target.starts_with("AmazonSSM") => return "ssm",
            Some(target) if target.starts_with("AWSWAF") => return "wafv2",
            Some(_) => return "cognito-idp",
            None => {}
        }
        let body = String::from_utf8_lossy(&self.body);
        if body.contains("Version=2010-05-08") {
            "iam"
        } else if body.contains("Version=2011-06-15") {
            "sts"
        } else if body.contains("Version=2016-11-15") {
            "ec2"
        } else if self.path.starts_with("/20") {
            "lambda"
        } else {
            "apigateway"
        }
    }

    /// Whether this AWS call changes anything.
    pub(crate) fn is_write(&self) -> bool {
        let operation = self.operation();
        let reads = ["Get", "List", "Describe", "Filter", "GET "];
        self.is_aws() && !reads.iter().any(|verb| operation.starts_with(verb))
    }
}

/// When the rule is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The emulator has not got the request.
    Before,
    /// The emulator has answered, and the binary has not got the answer.
    After,
}

/// What the proxy does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Passes the request or the answer on.
    Pass,
    /// Closes the connection without an answer.
    Cut,
    /// Answers with this status, these headers and this body.
    Answer(u16, Vec<(&'static str, &'static str)>, String),
}

type Rule = Box<dyn Fn(&Request, Moment) -> Act + Send + Sync>;

/// A running proxy; it ends with the test's process.
pub(crate) struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    /// The emulator answers to no other name than its own; where it checks signatures, they are of the proxy's name.
    names_emulator: bool,
    /// Where requests to S3 go instead, if they do.
    s3: Mutex<Option<String>>,
    requests: Mutex<Vec<Request>>,
    rule: Mutex<Arc<Rule>>,
    under_way: AtomicUsize,
}

impl Proxy {
    /// Between a free port and the emulator at `endpoint`.
    pub(crate) fn start(endpoint: &str) -> Self {
        Self::between(endpoint, true)
    }

    /// As `start`, for an emulator that checks signatures.
    pub(crate) fn start_signed(endpoint: &str) -> Self {
        Self::between(endpoint, false)
    }

    fn between(endpoint: &str, names_emulator: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            upstream: endpoint.strip_prefix("http://").unwrap().to_owned(),
            names_emulator,
            s3: Mutex::default(),
            requests: Mutex::default(),
            rule: Mutex::new(Arc::new(Box::new(|_, _| Act::Pass))),
            under_way: AtomicUsize::new(0),
        });
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let kept = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = kept.clone();
                shared.under_way.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    serve(client, &shared);
                    shared.under_way.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { endpoint, shared }
    }

    /// Applies this rule from now on.
    pub(crate) fn rule(&self, rule: impl Fn(&Request, Moment) -> Act + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(Box::new(rule));
    }

    /// From now on requests to S3 go to the server at `endpoint`.
    pub(crate) fn send_s3_to(&self, endpoint: &str) {
        let address = endpoint.strip_prefix("http://").unwrap().to_owned();
        *self.shared.s3.lock().unwrap() = Some(address);
    }

    /// The requests since the last call of this; waits until none is under way.
    pub(crate) fn take(&self) -> Vec<Request> {
        while self.shared.under_way.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

/// Requests as `validate_requests.py` reads them.
pub(crate) fn dump(requests: &[Request]) -> Value {
    let requests = requests.iter().filter(|request| request.is_aws()).map(|request| {
        json!({
            "method": request.method,
            "path": request.path,
            "headers": request.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "body": STANDARD.encode(&request.body),
        })
    });
    requests.collect()
}

/// One request of one connection: to the emulator, and its answer back.
fn serve(mut client: TcpStream, shared: &Shared) -> Option<()> {
    // A process that was stopped may have connected without a word; whoever waits for what is under way must not wait for that.
    client.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let (head, body) = message(&mut client)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let is_for_s3 =
        (headers.iter()).any(|(name, value)| name == "authorization" && value.contains("/s3/aws4_request"));
    let other = shared.s3.lock().unwrap().clone().filter(|_| is_for_s3);
    let upstream = other.as_ref().unwrap_or(&shared.upstream);
    let mut forwarded = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| name != "connection") {
        let named = shared.names_emulator && name == "host";
        let value = if named { upstream } else { value };
        forwarded.extend([name, ": ", value, "\r\n"]);
    }
    forwarded.push_str("connection: close\r\n\r\n");
    let mut request = Request {
        method,
        path,
        headers: headers
            .into_iter()
            .filter(|(name, _)| name != "authorization")
            .collect(),
        body,
        status: 0,
    };
    let rule = shared.rule.lock().unwrap().clone();
    let mut act = rule(&request, Moment::Before);
    let mut answer = Vec::new();
    if matches!(act, Act::Pass) {
        let mut server = TcpStream::connect(upstream).ok()?;
        server.write_all(forwarded.as_bytes()).ok()?;
        server.write_all(&request.body).ok()?;
        // The emulator closes the connection behind its answer.
        server.read_to_end(&mut answer).ok()?;
        request.status = String::from_utf8_lossy(answer.get(9..12)?).parse().ok()?;
        act = rule(&request, Moment::After);
    }
    shared.requests.lock().unwrap().push(request);
    match act {
        Act::Pass => {}
        Act::Cut => answer.clear(),
        Act::Answer(status, headers, body) => {
            let mut text = format!("HTTP/1.1 {status} As Told\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                text.extend([name, ": ", value, "\r\n"]);
            }
            answer = format!("{text}connection: close\r\n\r\n{body}").into_bytes();
        }
    }
    // A client that has gone away has sent its request all the same.
    drop(client.write_all(&answer));
    drop(client.shutdown(Shutdown::Both));
    Some(())
}

/// The head of a message, and its body by Content-Length.
pub(crate) fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap_or(0));
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            count => body.extend_from_slice(&chunk[..count]),
        }
    }
    Some((head, body))
}
