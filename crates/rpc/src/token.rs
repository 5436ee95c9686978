//! Tokens: JWTs of type `at+jwt` (RFC 9068), verified as RFC 8725 asks. The library checks the signature, the issuer and the
//! audience; what it leaves to others is checked here: type, algorithm by key, `crit`, duplicate claims, and time by our clock.

use crate::ApiError;
use crate::policy::Policy;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quintile_domain::time::Instant;
use quintile_proto::access::Jwk;
use serde::{Deserialize, Serialize};

/// The audience of every token of ours.
pub const AUDIENCE: &str = "quintile";
/// The type that a token's header must state.
pub const TOKEN_TYPE: &str = "at+jwt";
/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far clocks may differ.
pub const LEEWAY_SECONDS: i64 = 30;

/// What a token states. A claim that stands twice does not parse.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for: [`AUDIENCE`].
    pub aud: String,
    /// Who it speaks for.
    pub sub: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// From when it is valid.
    pub nbf: i64,
    /// Until when it is valid.
    pub exp: i64,
    /// Its own id.
    pub jti: String,
    /// The tenant's id.
    pub tenant: String,
    /// The role.
    pub role: String,
    /// The department of whom it speaks for. Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub department: String,
    /// The region of whom it speaks for. Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// A key that verifies, bound to one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({:?})", self.algorithm)
    }
}

impl VerifyingKey {
    /// The key of a JWK; Ed25519 alone for now.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, &'static str> {
        if (jwk.kty.as_str(), jwk.crv.as_str(), jwk.alg.as_str()) != ("OKP", "Ed25519", "EdDSA") {
            return Err("a key is not Ed25519");
        }
        let key = DecodingKey::from_ed_components(&jwk.x).map_err(|_| "a key is malformed")?;
        Ok(Self { key, algorithm: Algorithm::EdDSA })
    }
}

/// Signs a token.
pub fn sign(claims: &Claims, kid: &str, key: &EncodingKey) -> Result<String, ApiError> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TOKEN_TYPE.to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).map_err(|_| ApiError::internal("a token could not be signed"))
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// Verifies a token at `now` (machine time). The error's internal text says what was wrong; a client only learns that it was.
pub fn verify(token: &str, policy: &Policy, now: Instant) -> Result<Claims, ApiError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(ApiError::unauthenticated("the token is too long"));
    }
    let header = read_header(token)?;
    if header.crit.is_some() {
        return Err(ApiError::unauthenticated("the token has critical extensions"));
    }
    if !header.typ.is_some_and(|typ| typ.eq_ignore_ascii_case(TOKEN_TYPE)) {
        return Err(ApiError::unauthenticated("the token's type is not at+jwt"));
    }
    let kid = header.kid.ok_or_else(|| ApiError::unauthenticated("the token names no key"))?;
    let key = policy.key(&kid).ok_or_else(|| ApiError::unauthenticated("the token names an unknown key"))?;
    if header.alg != format!("{:?}", key.algorithm) {
        return Err(ApiError::unauthenticated("the token's algorithm is not its key's"));
    }
    let mut validation = Validation::new(key.algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[&policy.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub", "nbf"]);
    // Time is checked below, by our clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let data = jsonwebtoken::decode::<Claims>(token, &key.key, &validation)
        .map_err(|error| ApiError::unauthenticated(format!("the token does not verify: {:?}", error.kind())))?;
    check_time(&data.claims, now)?;
    Ok(data.claims)
}

/// Checks what can change of a verified token: time, by now.
pub fn check(claims: &Claims, _policy: &Policy, now: Instant) -> Result<(), ApiError> {
    check_time(claims, now)
}

/// Checks a verified token's times against `now`; a cached token is checked again with every call.
pub fn check_time(claims: &Claims, now: Instant) -> Result<(), ApiError> {
    let seconds = now.micros().div_euclid(1_000_000);
    if claims.exp.saturating_add(LEEWAY_SECONDS) <= seconds {
        return Err(ApiError::unauthenticated("the token has expired"));
    }
    if claims.nbf.saturating_sub(LEEWAY_SECONDS) > seconds || claims.iat.saturating_sub(LEEWAY_SECONDS) > seconds {
        return Err(ApiError::unauthenticated("the token is not valid yet"));
    }
    Ok(())
}

fn read_header(token: &str) -> Result<RawHeader, ApiError> {
    let encoded = token.split('.').next().unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| ApiError::unauthenticated("the token is no JWT"))?;
    serde_json::from_slice(&bytes).map_err(|_| ApiError::unauthenticated("the token's header is malformed"))
}
