//! The MQ HTTP API (version 2015-06-06), as bytes: what is signed, what is sent, what an answer
//! says. Both sides of it, since the agent speaks it and the embedded broker answers it.
//!
//! - [`resource`]: the path and query, built once, since the string that is sent is signed
//! - [`sign`]: the canonical string and its HMAC-SHA1
//! - [`publish`], [`consume`], [`ack`]: the XML of each operation, there and back
//! - [`delay`]: a delivery that is put off
//! - [`properties`], joined as `key:value`, with a bar between
//! - [`fault`]: error codes and what each one means
//! - [`digest`]: MD5 of bodies, hex in an answer, base64 of hex in a header
//! - [`xml`]: the little XML that all of this needs

pub mod ack;
pub mod consume;
pub mod delay;
pub mod digest;
pub mod fault;
pub mod properties;
pub mod publish;
pub mod resource;
pub mod sign;
pub mod xml;

/// Value of the `x-mq-version` header, which is signed.
pub const VERSION: &str = "2015-06-06";
/// Name of the version header.
pub const VERSION_HEADER: &str = "x-mq-version";
/// Name of the header that only MQ sends: the id of the request.
pub const REQUEST_ID_HEADER: &str = "x-mq-request-id";
/// Content type, byte for byte the same in the header and in the signed string.
pub const CONTENT_TYPE: &str = "text/xml;charset=utf-8";
/// XML name space of requests.
pub const NAMESPACE: &str = "http://mq.aliyuncs.com/doc/v1/";
/// XML name space of answers: the Java SDK reads error codes in this one only, no SDK minds it.
pub const ANSWER_NAMESPACE: &str = "http://mq.aliyuncs.com/doc/v1";
