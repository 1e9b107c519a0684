//! A server that answers broken at one place and well before it, every way to break an answer, and one run of the binary
//! against it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Place;
use crate::support::proxy::message;

/// Where the answers are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Sts,
    /// Every other call of AWS.
    Aws,
    /// The deletes among them.
    Deletes,
    Token,
    Api,
    Keys,
}

macro_rules! kinds {
    ($($kind:ident),+ $(,)?) => {
        /// How they are broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),+ }

        impl Kind {
            pub(super) const ALL: &[Self] = &[$(Self::$kind),+];
        }
    };
}

kinds! {
    ClosedAtOnce, ClosedAfterTheHead, Silence, AByteASecond, ContinueForEver, CutHead, CutBody, LengthTooLarge,
    LengthTooSmall, EndlessBody, EndlessHead, Empty, Html, WrongTypes, Nulls, Deep, LongString, HugeNumbers, SamePage,
    NewPages, Redirect, Error500, Error429, Escapes,
}

/// One run of the binary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub at: At,
    pub args: &'static [&'static str],
    pub kind: Kind,
}

/// How it ended.
pub(super) struct End {
    pub case: Case,
    /// `None` where it was killed at its deadline, or by a signal.
    pub code: Option<i32>,
    pub hung: bool,
    pub seconds: u64,
    /// Peak resident memory in bytes.
    pub memory: u64,
    pub stderr: String,
}

/// What runs `command` in a process group and writes its peak memory in bytes to `peak`. The kernel counts for a process also what
/// the one had that started it, which is this test with all others: so a small one starts it.
fn measured(command: &Command, peak: &Path) -> Command {
    const SCRIPT: &str = "
import os, sys
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(process, 0)
with open(sys.argv[1], 'w') as file:
    file.write(str(used.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)))
code = os.waitstatus_to_exitcode(status)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
";
    let mut measured = Command::new("python3");
    measured
        .args(["-c", SCRIPT])
        .arg(peak)
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().expect("it runs in a folder of its own"))
        .stdin(Stdio::null())
        .process_group(0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measured.env(name, value),
            None => measured.env_remove(name),
        };
    }
    measured
}

impl Case {
    /// By docs/reliability.md, and two minutes for a machine that is busy.
    fn deadline(self) -> Duration {
        let seconds = match (self.at, self.kind) {
            // Their answer decides what there is.
            (At::Deletes, _) => 300,
            (At::Aws, Kind::Error429) => 120,
            (At::Sts | At::Aws, _) => 60,
            (At::Token | At::Api | At::Keys, _) => 90,
        };
        Duration::from_secs(seconds + 120)
    }

    /// Runs it in a folder of its own below `place`. `elsewhere` is where a redirect leads to.
    pub(super) fn run(self, place: &Place, number: usize, state: &Value, elsewhere: &str) -> End {
        let endpoint = self.serve(elsewhere.to_owned());
        let mut state = state.clone();
        state["endpoint"] = json!(endpoint);
        let folder = format!("state-{number}");
        fs_err::create_dir(place.path().join(&folder)).unwrap();
        let file = Path::new(&folder).join("orders.json");
        fs_err::write(place.path().join(file), state.to_string()).unwrap();
        let mut command = place.at(&endpoint, self.args);
        command.args(["--state", &folder]).env("AWS_REGION", "us-east-1");
        let peak = place.path().join(format!("peak-{number}"));
        let mut command = measured(&command, &peak);
        let began = std::time::Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).unwrap();
            tell.send(bytes).unwrap();
        });
        let in_time = told.recv_timeout(self.deadline());
        let hung = in_time.is_err();
        if hung {
            let group = format!("-{}", child.id());
            Command::new("kill")
                .args(["-KILL", "--", &group])
                .status()
                .unwrap();
        }
        let stderr = in_time.unwrap_or_else(|_| told.recv().unwrap());
        let status = child.wait().unwrap();
        End {
            case: self,
            code: status.code().filter(|_| !hung),
            hung,
            seconds: began.elapsed().as_secs(),
            memory: fs_err::read_to_string(peak).map_or(0, |bytes| bytes.parse().unwrap()),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// The endpoint of a server that ends with the test's process.
    fn serve(self, elsewhere: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let pages = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (pages, elsewhere) = (pages.clone(), elsewhere.clone());
                thread::spawn(move || self.answer(client, &pages, &elsewhere));
            }
        });
        endpoint
    }

    fn answer(self, mut client: TcpStream, pages: &AtomicUsize, elsewhere: &str) -> Option<()> {
        let (head, body) = message(&mut client)?;
        let body = String::from_utf8_lossy(&body);
        let path = head.split(' ').nth(1)?;
        let (at, well) = if body.contains("Action=GetCallerIdentity") {
            (At::Sts, (200, CALLER.to_owned()))
        } else if path.contains("/oauth2/") {
            let token = json!({"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 3600});
            (At::Token, (200, token.to_string()))
        } else if path.contains("/.well-known/") {
            (At::Keys, (200, json!({"keys": []}).to_string()))
        } else if path.contains("/_user_request_/orders/") {
            (At::Api, (401, json!({"message": "Unauthorized"}).to_string()))
        } else if path.contains("/_user_request_/") {
            let message = json!({"message": "Missing Authentication Token"});
            (At::Api, (403, message.to_string()))
        } else {
            let pool =
                json!({"Id": "us-east-1_PWD9LVKm9", "Name": "orders", "DeletionProtection": "INACTIVE"});
            let client = json!({"ClientSecret": "s".repeat(50)});
            // The log group of the record.
            let group = "/aws/lambda/orders-a9c7bee1-orders";
            let arn = format!("arn:aws:logs:us-east-1:000000000000:log-group:{group}");
            let groups = json!([{"logGroupName": group, "arn": format!("{arn}:*"), "logGroupArn": arn}]);
            let tags = json!({"provision:owner": "a9c7bee1", "provision:stack": "orders"});
            let well = json!({"UserPool": pool, "UserPoolClient": client, "item": [], "logGroups": groups, "tags": tags});
            let deletes =
                head.starts_with("DELETE ") || head.contains(".Delete") || body.contains("Action=Delete");
            let at = if deletes && self.at == At::Deletes {
                At::Deletes
            } else {
                At::Aws
            };
            let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
            let empty = |action| format!("<{action}Response><{action}Result/></{action}Response>");
            (at, (200, action.map_or_else(|| well.to_string(), empty)))
        };
        if at == self.at {
            let is_xml = body.contains("Action=");
            self.kind.answer(&mut client, is_xml, pages, elsewhere)?;
        } else {
            send(&mut client, well.0, "", well.1.as_bytes())?;
        }
        client.shutdown(Shutdown::Both).ok()
    }
}

const CALLER: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <GetCallerIdentityResult><Arn>arn:aws:iam::000000000000:root</Arn><UserId>a</UserId><Account>000000000000</Account>\
    </GetCallerIdentityResult></GetCallerIdentityResponse>";

fn send(client: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> Option<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} As Told\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).ok()?;
    client.write_all(body).ok()
}

/// Members that answers of AWS, of the token endpoint and of an issuer have, all with this value.
fn members(value: &str) -> String {
    let names = "Account Arn UserPool UserPoolClient UserPools UserPoolClients ClientSecrets DomainDescription \
        ResourceServer ResourceServers Configuration Code Tags Policy FunctionName MemorySize Timeout CodeSize State \
        logGroups events retentionInDays tags item items id name createdDate resourceMethods methodSettings \
        access_token token_type expires_in keys message error";
    let members: Vec<String> = (names.split(' ').filter(|name| !name.is_empty()))
        .map(|name| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// The same again and again, as long as anybody takes it.
fn repeat(client: &mut TcpStream, part: &[u8], pause: u64) -> Option<()> {
    loop {
        client.write_all(part).ok()?;
        thread::sleep(Duration::from_millis(pause));
    }
}

/// Nothing more, until the client leaves.
fn hold(client: &mut TcpStream) -> Option<()> {
    while client.read(&mut [0; 64]).ok()? > 0 {}
    None
}

impl Kind {
    fn answer(
        self,
        client: &mut TcpStream,
        is_xml: bool,
        pages: &AtomicUsize,
        elsewhere: &str,
    ) -> Option<()> {
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n";
        let part = [b'x'; 16 * 1024];
        let mut raw = |text: &str| client.write_all(text.as_bytes()).ok();
        match self {
            Self::ClosedAtOnce => Some(()),
            Self::ClosedAfterTheHead => raw(long),
            Self::CutHead => raw("HTTP/1.1 200 O"),
            Self::CutBody => raw(&format!("{long}{{\"UserPool\": {{")),
            Self::LengthTooSmall => raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{\"item\": [1, 2, 3]}"),
            Self::Silence => hold(client),
            Self::LengthTooLarge => {
                raw(&format!("{long}{{}}"))?;
                hold(client)
            }
            Self::AByteASecond => {
                raw(long)?;
                repeat(client, b"{", 1000)
            }
            Self::ContinueForEver => repeat(client, b"HTTP/1.1 100 Continue\r\n\r\n", 20),
            Self::EndlessHead => {
                raw("HTTP/1.1 200 OK\r\n")?;
                repeat(client, b"x-more: and one more, which is not the last\r\n", 1)
            }
            Self::EndlessBody => {
                raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                let chunk = [b"4000\r\n".as_slice(), &part, b"\r\n"].concat();
                repeat(client, &chunk, 2)
            }
            Self::LongString => {
                raw("HTTP/1.1 200 OK\r\ncontent-length: 20971534\r\n\r\n{\"message\":\"")?;
                for _ in 0..20 * 64 {
                    client.write_all(&part).ok()?;
                }
                client.write_all(b"\"}").ok()
            }
            Self::Empty => send(client, 200, "", b""),
            Self::Html => send(
                client,
                200,
                "content-type: text/html\r\n",
                b"<html><body>Sign in</body></html>",
            ),
            Self::WrongTypes => send(client, 200, "", members("[{\"x\":[7,\"\"]},true]").as_bytes()),
            Self::Nulls => send(client, 200, "", members("null").as_bytes()),
            Self::HugeNumbers => send(client, 200, "", members("99999999999999999999999e999").as_bytes()),
            Self::Deep => {
                let (open, close) = if is_xml { ("<a>", "</a>") } else { ("[", "]") };
                let deep = open.repeat(100_000) + &close.repeat(100_000);
                send(
                    client,
                    200,
                    "",
                    if is_xml {
                        deep
                    } else {
                        format!("{{\"item\":{deep}}}")
                    }
                    .as_bytes(),
                )
            }
            Self::SamePage | Self::NewPages => {
                let number = if self == Self::NewPages {
                    pages.fetch_add(1, Ordering::Relaxed)
                } else {
                    7
                };
                let tokens = [
                    "NextToken",
                    "nextToken",
                    "position",
                    "NextMarker",
                    "Marker",
                    "PaginationToken",
                ];
                let tokens: Vec<String> = tokens
                    .iter()
                    .map(|name| format!("\"{name}\":\"{number}\""))
                    .collect();
                let body = format!(
                    "{{\"logGroups\":[],\"events\":[],\"UserPools\":[],\"UserPoolClients\":[],\
                    \"ClientSecrets\":[],\"ResourceServers\":[],\"item\":[],{}}}",
                    tokens.join(",")
                );
                send(client, 200, "", body.as_bytes())
            }
            Self::Redirect => send(client, 307, &format!("location: {elsewhere}/\r\n"), b""),
            Self::Error500 => send(client, 500, "", b""),
            Self::Error429 => {
                let body = if is_xml {
                    "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"
                } else {
                    "{\"__type\":\"TooManyRequestsException\"}"
                };
                let header = "x-amzn-errortype: TooManyRequestsException\r\n";
                send(client, 429, header, body.as_bytes())
            }
            Self::Escapes => {
                let text = b"\x1b]0;owned\x07\x1b[2J\xc2\x9b31m\xe2\x80\xae\xff\xfe";
                let body = if is_xml {
                    [
                        b"<ErrorResponse><Error><Code>A",
                        text.as_slice(),
                        b"</Code><Message>",
                        text,
                        b"</Message></Error></ErrorResponse>",
                    ]
                    .concat()
                } else {
                    [
                        b"{\"__type\":\"A",
                        text.as_slice(),
                        b"\",\"error\":\"",
                        text,
                        b"\",\"message\":\"",
                        text,
                        b"\"}",
                    ]
                    .concat()
                };
                send(client, 400, "x-amzn-requestid: r\u{9b}2J\r\n", &body)
            }
        }
    }
}

/// Runs all of them, `together` at a time, the ones with the longest deadlines first.
pub(super) fn run_all(place: &Place, mut cases: Vec<Case>, state: &Value, together: usize) -> Vec<End> {
    let lure = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = format!("http://{}", lure.local_addr().unwrap());
    cases.sort_by_key(|case| std::cmp::Reverse(case.deadline()));
    let next = AtomicUsize::new(0);
    let ends = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..together {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let end = case.run(place, number, state, &elsewhere);
                    ends.lock().unwrap().push(end);
                }
            });
        }
    });
    lure.set_nonblocking(true).unwrap();
    assert!(lure.accept().is_err(), "a redirect was followed");
    ends.into_inner().unwrap()
}
