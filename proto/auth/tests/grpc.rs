//! OTLP over gRPC with credentials, as tonic's client meets them over a real socket: who is let in, and what the others are
//! told. A client of OTLP sends again what is retryable, and drops what is not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::server::UnaryService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use trivium_auth::{
    AuthConfig, AuthDeps, AuthLayer, Authenticator, ClaimMapping, Door, How, JwtConfig, Mode, NewToken, NoClient,
    Principal, Role, RouteTable, Signals, routes,
};
use trivium_model::{ManualClock, MemoryStateStore, SignalKind, TenantId, UnixNanos};
use trivium_proto::rpc;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Messages as the bytes they are.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, destination: &mut EncodeBuf<'_>) -> Result<(), Status> {
        destination.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

/// A receiver that takes everything, and counts the messages and bytes that reached it.
#[derive(Clone, Default)]
struct Receiver(Arc<[AtomicUsize; 2]>);

impl UnaryService<Bytes> for Receiver {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        self.0[1].fetch_add(request.get_ref().len(), Ordering::SeqCst);
        std::future::ready(Ok(Response::new(Bytes::new())))
    }
}

impl Receiver {
    async fn serve(self, request: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
        let gzip = CompressionEncoding::Gzip;
        let mut grpc = tonic::server::Grpc::new(RawCodec).accept_compressed(gzip).send_compressed(gzip);
        Ok(grpc.unary(self, request).await.map(Body::new))
    }

    fn taken(&self) -> [usize; 2] {
        [0, 1].map(|index| self.0[index].load(Ordering::SeqCst))
    }
}

struct Server {
    address: SocketAddr,
    auth: Arc<Authenticator>,
    receiver: Receiver,
    _stop: DropGuard,
}

impl Server {
    async fn start() -> Self {
        // Its keys cannot be fetched, since nobody may be asked.
        let unreachable = JwtConfig {
            issuer: "https://issuer.example".into(),
            audience: "trivium".into(),
            jwks_file: None,
            jwks_url: Some("https://issuer.example/keys".into()),
            claims: ClaimMapping { default_role: Some(Role::Ingest), ..ClaimMapping::default() },
        };
        let config = AuthConfig { mode: Mode::Required, jwt: vec![unreachable], ..AuthConfig::default() };
        let deps = AuthDeps {
            store: Arc::new(MemoryStateStore::default()),
            clock: Arc::new(ManualClock::new(UnixNanos(2_000_000_000_000_000_000))),
            client: Arc::new(NoClient),
        };
        let auth = Authenticator::open(config, deps).await.expect("an authenticator");
        let receiver = Receiver::default();
        let handler = |receiver: Receiver| post(move |request: http::Request<Body>| receiver.clone().serve(request));
        let router = Router::new().route(LOGS, handler(receiver.clone())).route(TRACES, handler(receiver.clone()));
        let table = Arc::new(RouteTable::new(routes::otlp_grpc()).expect("a table"));
        let router = router.layer(AuthLayer::new(Arc::clone(&auth), table, Door::OtlpGrpc));
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let stop = CancellationToken::new();
        tokio::spawn(trivium_listen::serve(tcp, router, stop.clone().cancelled_owned()));
        Self { address, auth, receiver, _stop: stop.drop_guard() }
    }

    async fn token(&self, role: Role, signals: Option<Signals>) -> String {
        let admin = Principal {
            tenant: TenantId::DEFAULT,
            tenant_name: "default".into(),
            role: Role::Admin,
            name: "root".into(),
            how: How::Password,
            signals: Signals::ALL,
        };
        let new = NewToken { name: "for a test".into(), role, tenant: None, signals, expires_in_seconds: None };
        let (_, secret) = self.auth.create_token(&admin, new).await.expect("a token");
        format!("Bearer {}", secret.reveal())
    }

    async fn client(&self) -> Grpc<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a URI");
        Grpc::new(endpoint.connect().await.expect("it listens"))
    }

    async fn export(&self, authorization: Option<&str>, path: &'static str) -> Result<Bytes, Status> {
        unary(&mut self.client().await, authorization, path, Bytes::from_static(b"telemetry")).await
    }
}

fn request<T>(authorization: Option<&str>, body: T) -> Request<T> {
    let mut request = Request::new(body);
    if let Some(authorization) = authorization {
        let value = MetadataValue::try_from(authorization).expect("a value");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn unary(
    client: &mut Grpc<Channel>,
    authorization: Option<&str>,
    path: &'static str,
    body: Bytes,
) -> Result<Bytes, Status> {
    client.ready().await.expect("ready");
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(request(authorization, body), path, RawCodec).await.map(Response::into_inner)
}

/// The refusal, its details in agreement with it.
fn refused(result: Result<Bytes, Status>, code: Code) -> (Status, rpc::Status) {
    let status = result.expect_err("it is refused");
    assert_eq!(status.code(), code, "{status:?}");
    let details = rpc::Status::decode(status.details()).expect("google.rpc.Status");
    assert_eq!((details.code, &*details.message), (i32::from(code), status.message()));
    (status, details)
}

/// A refusal that an OTLP client does not answer by sending the same again.
fn refused_for_good(result: Result<Bytes, Status>, code: Code) -> Status {
    let (status, details) = refused(result, code);
    assert!(details.details.is_empty(), "nothing says that it passes: {details:?}");
    status
}

#[tokio::test]
async fn without_or_with_a_wrong_credential_it_is_unauthenticated_and_not_sent_again() {
    let server = Server::start().await;
    let right = server.token(Role::Ingest, None).await;
    let almost = right.replacen("trv_", "trv_0", 1);
    let cases = [
        (None, "Bearer realm=\"trivium\""),
        (Some("Bearer nonsense"), "Bearer realm=\"trivium\", error=\"invalid_token\""),
        (Some(&*almost), "Bearer realm=\"trivium\", error=\"invalid_token\""),
        (Some("Basic eDp5"), "Basic realm=\"trivium\", charset=\"UTF-8\""),
    ];
    for (authorization, hint) in cases {
        let status = refused_for_good(server.export(authorization, LOGS).await, Code::Unauthenticated);
        let told = status.metadata().get("www-authenticate").expect("a hint");
        assert_eq!(told.to_str().expect("text"), hint, "{authorization:?}");
        assert!(!status.message().contains("nonsense") && !status.message().is_empty(), "{status:?}");
    }
    assert_eq!(server.receiver.taken(), [0, 0]);
}

#[tokio::test]
async fn who_may_not_write_is_denied_and_who_may_is_served() {
    let server = Server::start().await;
    for role in [Role::Viewer, Role::Editor] {
        let status =
            refused_for_good(server.export(Some(&server.token(role, None).await), LOGS).await, Code::PermissionDenied);
        assert!(status.message().contains(role.name()), "{status:?}");
        assert!(status.metadata().get("www-authenticate").is_none(), "another credential is not the point");
    }
    let logs_alone = server.token(Role::Ingest, Some(Signals::only([SignalKind::Logs]))).await;
    let status = refused_for_good(server.export(Some(&logs_alone), TRACES).await, Code::PermissionDenied);
    assert!(status.message().contains("logs"), "{status:?}");
    assert_eq!(server.receiver.taken(), [0, 0]);
    for (authorization, path) in [
        (logs_alone, LOGS),
        (server.token(Role::Ingest, None).await, TRACES),
        (server.token(Role::Admin, None).await, LOGS),
    ] {
        assert_eq!(server.export(Some(&authorization), path).await.expect("it is taken"), Bytes::new());
    }
    assert_eq!(server.receiver.taken(), [3, 27]);
}

#[tokio::test]
async fn what_does_not_exist_is_unimplemented_and_only_to_who_is_known() {
    let server = Server::start().await;
    let token = server.token(Role::Ingest, None).await;
    for path in ["/opentelemetry.proto.collector.logs.v1.LogsService/Import", "/x/y", "//opentelemetry/Export"] {
        refused_for_good(server.export(Some(&token), path).await, Code::Unimplemented);
        refused_for_good(server.export(None, path).await, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn what_cannot_be_told_at_the_moment_is_sent_again_later() {
    let server = Server::start().await;
    // Issued by who is trusted, as far as it says so itself; its keys are not to be had.
    let text = |json: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
    };
    let header = text(r#"{"alg":"EdDSA","kid":"a"}"#);
    let token = format!("Bearer {header}.{}.{}", text(r#"{"iss":"https://issuer.example"}"#), text("signature"));
    let (_, details) = refused(server.export(Some(&token), LOGS).await, Code::Unavailable);
    let [info] = &details.details[..] else { panic!("{details:?}") };
    assert_eq!(info.type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let delay = rpc::RetryInfo::decode(&*info.value).expect("RetryInfo").retry_delay.expect("a delay");
    assert!((1..=60).contains(&delay.seconds), "{delay:?}");
}

#[tokio::test]
async fn compressed_and_large_bodies_are_refused_unread_and_taken_whole() {
    let server = Server::start().await;
    let token = server.token(Role::Ingest, None).await;
    let viewer = server.token(Role::Viewer, None).await;
    let large: Bytes = (0..3_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761) as u8).collect();
    for coding in [None, Some(CompressionEncoding::Gzip)] {
        let mut client = server.client().await;
        if let Some(coding) = coding {
            client = client.send_compressed(coding).accept_compressed(coding);
        }
        // All on one connection: a refusal costs the next request nothing.
        for _ in 0..3 {
            refused_for_good(unary(&mut client, None, LOGS, large.clone()).await, Code::Unauthenticated);
            refused_for_good(unary(&mut client, Some(&viewer), LOGS, large.clone()).await, Code::PermissionDenied);
        }
        let before = server.receiver.taken();
        unary(&mut client, Some(&token), LOGS, large.clone()).await.expect("it is taken");
        assert_eq!(server.receiver.taken(), [before[0] + 1, before[1] + large.len()], "{coding:?}");
    }
}

/// A client that never ends its request hears the refusal at once.
#[tokio::test]
async fn a_stream_without_end_is_refused_at_once() {
    let server = Server::start().await;
    for authorization in [None, Some(server.token(Role::Viewer, None).await)] {
        let code = if authorization.is_some() { Code::PermissionDenied } else { Code::Unauthenticated };
        let mut client = server.client().await;
        client.ready().await.expect("ready");
        let endless = futures::stream::repeat_with(|| Bytes::from_static(&[b'x'; 8 * 1024]));
        let path = http::uri::PathAndQuery::from_static(LOGS);
        let calling = client.client_streaming(request(authorization.as_deref(), endless), path, RawCodec);
        let result = tokio::time::timeout(Duration::from_secs(20), calling).await.expect("an answer");
        refused_for_good(result.map(Response::into_inner), code);
    }
    assert_eq!(server.receiver.taken(), [0, 0]);
}
