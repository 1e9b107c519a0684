//! An HTTP service of the test's own, which keeps what arrives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub verb: String,
    /// The path and the query.
    pub target: String,
    /// With their names as they were sent.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Arrived {
    /// All values of a header, whatever the case of its name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        (self.headers.iter())
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// It runs until the test's process ends.
pub(crate) struct Service {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let arrived: Arc<Mutex<Vec<Arrived>>> = Arc::default();
        let kept = arrived.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &kept);
            }
        });
        Self { url, arrived }
    }

    /// What has arrived since the last time.
    pub(crate) fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }
}

fn answer(stream: TcpStream, arrived: &Mutex<Vec<Arrived>>) {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap_or_default();
        line.trim_end().to_owned()
    };
    let first = line();
    let mut words = first.split(' ');
    let (Some(verb), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    let mut headers = Vec::new();
    loop {
        let line = line();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let request = Arrived {
        verb: verb.to_owned(),
        target: target.to_owned(),
        headers,
        body: String::new(),
    };
    let length = (request.all("content-length").first()).and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    arrived.lock().unwrap().push(Arrived { body, ..request });
    let text = r#"{"from":"the service"}"#;
    let mut stream = reader.into_inner();
    let sent = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    drop(sent);
}
