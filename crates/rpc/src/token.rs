//! Tokens: JWTs of type `at+jwt` (RFC 9068). What one states, how ours are signed, and how any is taken apart; whether it is to be
//! believed is [`crate::trust`]'s to say.

use crate::ApiError;
use crate::strict_json;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The audience of every token of ours.
pub const AUDIENCE: &str = "quintile";
/// The type that a token's header must state.
pub const TOKEN_TYPE: &str = "at+jwt";
/// The role of the suite's own services, which no other issuer gives.
pub const SERVICE: &str = "service";
/// What precedes the subjects of the suite's own services. Only the bootstrap secret buys a token of such a subject, and nobody revokes
/// it by name: whoever may do either holds the installation itself.
pub const SUITE: &str = "suite:";
/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far clocks may differ.
pub const LEEWAY_SECONDS: i64 = 30;
/// The longest that a token is valid, whoever issued it: a revocation that is older has nothing left to revoke.
pub const MAX_LIFETIME_SECONDS: i64 = 12 * 3600;

/// What a token states.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for: [`AUDIENCE`], or what an external issuer calls us.
    pub aud: String,
    /// Who it speaks for; of an external issuer `{issuer id}:{sub}`.
    pub sub: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// From when it is valid.
    pub nbf: i64,
    /// Until when it is valid.
    pub exp: i64,
    /// Its own id. Empty: an external issuer gave it none.
    pub jti: String,
    /// The tenant's id.
    pub tenant: String,
    /// The role.
    pub role: String,
    /// The department that row scopes compare with. Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub department: String,
    /// The region that row scopes compare with. Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// Signs a token.
pub fn sign(claims: &Claims, kid: &str, key: &EncodingKey) -> Result<String, ApiError> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TOKEN_TYPE.to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).map_err(|_| ApiError::internal("a token could not be signed"))
}

/// A token taken apart. Nothing of it is to be believed yet.
pub(crate) struct Parts<'a> {
    /// The algorithm by name.
    pub algorithm: String,
    /// The id of the key.
    pub kid: String,
    /// The claims.
    pub claims: Map<String, Value>,
    /// What is signed.
    pub message: &'a [u8],
    /// The signature, base64url.
    pub signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a token apart, if it is one that could be believed. An error says why not, for the logs.
    pub fn of(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("the token is too long");
        }
        let (message, signature) = token.rsplit_once('.').ok_or("the token is no JWT")?;
        let (header, claims) = message.split_once('.').ok_or("the token is no JWT")?;
        if claims.contains('.') || signature.is_empty() {
            return Err("the token is no signed JWT");
        }
        let header = object(header).ok_or("the token's header is malformed")?;
        // Whatever is critical in it, it is not known here.
        if header.contains_key("crit") {
            return Err("the token has critical extensions");
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let typ = text("typ").ok_or("the token's type is missing")?;
        let short = typ.get(.."application/".len()).filter(|lead| lead.eq_ignore_ascii_case("application/"));
        let typ = short.map_or(typ, |lead| &typ[lead.len()..]);
        if !typ.eq_ignore_ascii_case(TOKEN_TYPE) {
            return Err("the token's type is not at+jwt");
        }
        // `jku`, `jwk`, `x5u` and `x5c` are not even read: a token does not say which key it is to be believed by.
        let algorithm = text("alg").ok_or("the token names no algorithm")?.to_owned();
        let kid = text("kid").ok_or("the token names no key")?.to_owned();
        let claims = object(claims).ok_or("the token's claims are malformed")?;
        Ok(Self { algorithm, kid, claims, message: message.as_bytes(), signature })
    }
}

fn object(encoded: &str) -> Option<Map<String, Value>> {
    strict_json::object(&URL_SAFE_NO_PAD.decode(encoded).ok()?)
}
