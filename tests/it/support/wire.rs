//! HTTP as it goes over the wire: any header, any length, in pieces.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::{app::TestApp, backend::blocking};

const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// HTTP status and JFWMS's code.
    pub(crate) fn code(&self) -> (u16, Value) {
        (self.status, self.json()["code"].clone())
    }
}

/// Posts a body as it is to the path behind `/webhooks/`.
pub(crate) async fn post(
    app: &TestApp,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request = app.http.post(app.webhook_url(path)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.send().await.unwrap()).await
}

/// Reads an answer whole.
pub(crate) async fn answer(response: reqwest::Response) -> Answer {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect(),
        text: response.text().await.unwrap(),
    }
}

/// A request whose body is still to come, on a connection of its own.
pub(crate) struct Unfinished(TcpStream);

impl Unfinished {
    /// Sends the head and the first part of the body.
    pub(crate) fn begin(address: SocketAddr, path: &str, length: &str, part: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "POST /webhooks/{path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
             connection: close\r\n{length}\r\n\r\n{part}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Self(stream)
    }

    /// The same, of a body of which only the first half is sent.
    pub(crate) fn half(address: SocketAddr, path: &str, body: &str) -> (Self, String) {
        let (first, rest) = body.split_at(body.len() / 2);
        let length = format!("content-length: {}", body.len());
        (Self::begin(address, path, &length, first), rest.to_owned())
    }

    /// Sends more. A receiver that has answered already may have closed.
    pub(crate) fn write(&mut self, part: &str) {
        self.0.write_all(part.as_bytes()).ok();
    }

    /// Reads the answer; the receiver closes behind it.
    pub(crate) async fn answer(mut self) -> Answer {
        blocking(move || {
            let mut text = Vec::new();
            let read = self.0.read_to_end(&mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                panic!("no answer: {text:?}, {read:?}");
            };
            parsed(head, body.to_owned())
        })
        .await
    }
}

fn parsed(head: &str, text: String) -> Answer {
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.parse().unwrap(),
        headers: headers.map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect(),
        text,
    }
}

/// A connection that is kept for several requests.
pub(crate) struct Kept(Option<BufReader<TcpStream>>);

impl Kept {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(Some(BufReader::new(stream)))
    }

    /// Does something with the connection off the runtime's threads.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut BufReader<TcpStream>) -> T + Send + 'static,
    ) -> T {
        let mut stream = self.0.take().unwrap();
        let (stream, done) = blocking(move || {
            let done = work(&mut stream);
            (stream, done)
        })
        .await;
        self.0 = Some(stream);
        done
    }

    /// Sends bytes. A receiver that has answered already may have closed.
    pub(crate) async fn write(&mut self, text: impl Into<Vec<u8>>) {
        let bytes = text.into();
        self.with(move |stream| stream.get_mut().write_all(&bytes).ok()).await;
    }

    /// Posts a body and reads its answer.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "POST /webhooks/{path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.write(head + body).await;
        self.answer().await
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.with(|stream| {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                let read = stream.read_line(&mut head);
                assert!(matches!(read, Ok(1..)), "no answer: {head:?}, {read:?}");
            }
            let answer = parsed(&head, String::new());
            let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            Answer { text: String::from_utf8(body).unwrap(), ..answer }
        })
        .await
    }

    /// Reads until the receiver closes.
    pub(crate) async fn read_to_end(&mut self) -> String {
        self.with(|stream| {
            let mut text = Vec::new();
            let read = stream.read_to_end(&mut text);
            assert!(read.is_ok(), "{read:?}");
            String::from_utf8_lossy(&text).into_owned()
        })
        .await
    }
}
