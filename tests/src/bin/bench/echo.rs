//! What point reads are compared with: a bare tonic server that answers with as many bytes, in a process of its own like the services.
//! With parts it asks so many echoes behind it first, all at once, as the profile asks the services.

use crate::server::{WINDOW_BYTES, connect};
use anyhow::Context as _;
use http::uri::PathAndQuery;
use http::{Request, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::{Channel, Server};
use tonic_prost::ProstCodec;

/// The path of the one method.
pub const PATH: &str = "/bench.Echo/Echo";

/// A request: a name, as point reads have it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EchoRequest {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EchoResponse {
    /// As many bytes as were asked for.
    #[prost(bytes = "vec", tag = "1")]
    pub body: Vec<u8>,
}

#[derive(Debug, clap::Args)]
pub struct EchoArguments {
    /// The bytes of an answer
    #[arg(long)]
    bytes: usize,
    /// The bytes of the answers of the echoes behind it
    #[arg(long = "part")]
    parts: Vec<usize>,
}

/// A running echo. Dropping it kills the process.
pub struct EchoServer {
    /// Where it is.
    pub url: String,
    _process: Child,
}

impl EchoServer {
    /// Starts an echo in a process of its own.
    pub async fn start(bytes: usize, parts: &[usize]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", "--bytes", &bytes.to_string()]);
        for part in parts {
            command.args(["--part", &part.to_string()]);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = process.stdout.take().context("the echo has no output")?;
        let url = BufReader::new(output).lines().next_line().await?.context("the echo ended")?;
        Ok(Self { url, _process: process })
    }
}

/// Runs an echo until the process is killed. Its first line of output is its URL.
pub async fn run(arguments: EchoArguments) -> anyhow::Result<()> {
    let mut parts = Vec::with_capacity(arguments.parts.len());
    for bytes in arguments.parts {
        let (listener, url) = bind().await?;
        tokio::spawn(serve(listener, Echo { bytes, parts: Vec::new() }));
        parts.push(connect(&url).await?);
    }
    let (listener, url) = bind().await?;
    println!("{url}");
    Ok(serve(listener, Echo { bytes: arguments.bytes, parts }).await?)
}

async fn bind() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

async fn serve(listener: TcpListener, echo: Echo) -> Result<(), tonic::transport::Error> {
    let incoming = tokio_stream::StreamExt::map(TcpListenerStream::new(listener), |socket| {
        socket.inspect(|socket| drop(socket.set_nodelay(true)))
    });
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(echo)
        .serve_with_incoming(incoming)
        .await
}

#[derive(Clone)]
struct Echo {
    bytes: usize,
    parts: Vec<Channel>,
}

impl Echo {
    async fn answer(self, request: EchoRequest) -> Result<EchoResponse, Status> {
        let parts = self.parts.into_iter().map(|part| ask(part, request.clone()));
        futures::future::try_join_all(parts).await?;
        Ok(EchoResponse { body: vec![7; self.bytes] })
    }
}

async fn ask(part: Channel, request: EchoRequest) -> Result<EchoResponse, Status> {
    let mut client = tonic::client::Grpc::new(part);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<EchoRequest, EchoResponse>::default();
    let answer = client.unary(tonic::Request::new(request), PathAndQuery::from_static(PATH), codec).await?;
    Ok(answer.into_inner())
}

type Pinned<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl UnaryService<EchoRequest> for Echo {
    type Future = Pinned<tonic::Response<EchoResponse>, Status>;
    type Response = EchoResponse;

    fn call(&mut self, request: tonic::Request<EchoRequest>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(tonic::Response::new(echo.answer(request.into_inner()).await?)) })
    }
}

impl tower::Service<Request<Body>> for Echo {
    type Error = Infallible;
    type Future = Pinned<Response<Body>, Infallible>;
    type Response = Response<Body>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(echo, request).await) })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}
