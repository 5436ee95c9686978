//! The codec of the servers: it encodes masked messages and nothing else.

use prost::Message;
use quintile_domain::masking::Masked;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Decodes requests, encodes [`Masked`] answers.
pub struct MaskedCodec<Answer, Request>(PhantomData<(Answer, Request)>);

impl<Answer, Request> Default for MaskedCodec<Answer, Request> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Answer, Request> Codec for MaskedCodec<Masked<Answer>, Request>
where
    Answer: Message + Send + 'static,
    Request: Message + Default + Send + 'static,
{
    type Decode = Request;
    type Decoder = RequestDecoder<Request>;
    type Encode = Masked<Answer>;
    type Encoder = MaskedEncoder<Answer>;

    fn encoder(&mut self) -> Self::Encoder {
        MaskedEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
    }
}

/// Decodes requests.
pub struct RequestDecoder<Request>(PhantomData<Request>);

impl<Request: Message + Default> Decoder for RequestDecoder<Request> {
    type Error = Status;
    type Item = Request;

    /// What does not decode is the caller's fault, and is not told back in the decoder's words, which could be of what was sent.
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Self::Error> {
        let malformed = |_| Status::invalid_argument("the request is not an encoded message of the method");
        Request::decode(buffer).map(Some).map_err(malformed)
    }
}

/// Encodes masked messages.
pub struct MaskedEncoder<Answer>(PhantomData<Answer>);

impl<Answer: Message> Encoder for MaskedEncoder<Answer> {
    type Error = Status;
    type Item = Masked<Answer>;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Self::Error> {
        item.as_message().encode(buffer).map_err(|_| Status::internal("the answer does not fit"))
    }
}
