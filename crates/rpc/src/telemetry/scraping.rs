//! Telling metrics to whoever scrapes them: `GET /metrics` in Prometheus' text format, on a socket of its own.

use super::{metrics, resource};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use opentelemetry::global;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once; more are closed at once.
const MAX_CONNECTIONS: usize = 8;
/// The most bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long a connection may wait for the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last: whoever scrapes connects again.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(10);
/// How long to wait where no connection can be taken, as where there are no file descriptors left.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Sets metrics up for the process: from now on instruments count. `service` is what it calls itself.
pub fn start(service: String) -> Result<Registry, String> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false);
    let exporter = exporter.build().map_err(|error| error.to_string())?;
    global::set_meter_provider(
        SdkMeterProvider::builder().with_reader(exporter).with_resource(resource(service)).build(),
    );
    metrics::tell();
    Ok(registry)
}

/// Answers whoever scrapes, without end.
pub async fn serve(listener: TcpListener, registry: Registry) -> Infallible {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY_AFTER).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let registry = registry.clone();
        tokio::spawn(async move {
            // Whoever scrapes tells of a broken connection by itself.
            drop(tokio::time::timeout(CONNECTION_TIMEOUT, answer_on(stream, registry)).await);
            drop(place);
        });
    }
}

async fn answer_on(stream: TcpStream, registry: Registry) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = answer(&request, &registry);
        async move { Ok::<_, Infallible>(answered) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer<B>(request: &Request<B>, registry: &Registry) -> Response<Full<Bytes>> {
    let (status, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => {
            let mut text = Vec::new();
            match TextEncoder::new().encode(&registry.gather(), &mut text) {
                Ok(()) => (StatusCode::OK, Bytes::from(text)),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
            }
        }
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
        _ => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_got_and_nothing_else_is_there() {
        let registry = Registry::new();
        let asked = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            answer(&request, &registry).status()
        };
        assert_eq!(asked(Method::GET, "/metrics"), StatusCode::OK);
        assert_eq!(asked(Method::GET, "/metrics?name=x"), StatusCode::OK);
        assert_eq!(asked(Method::POST, "/metrics"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(asked(Method::GET, "/"), StatusCode::NOT_FOUND);
    }
}
