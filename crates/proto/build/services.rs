//! Clients that receive messages, and servers that can answer with masked messages alone.

use proc_macro2::TokenStream;
use prost_build::{Method, Service, ServiceGenerator};
use quote::quote;
use tonic_build::CodeGenBuilder;

/// Generates both sides of every service.
pub struct MaskedServices;

impl ServiceGenerator for MaskedServices {
    fn generate(&mut self, service: Service, buffer: &mut String) {
        let mut builder = CodeGenBuilder::new();
        builder.emit_package(true).build_transport(true);
        let mut tokens = builder.generate_client(&Side::new(&service, false), "super");
        tokens.extend(builder.generate_server(&Side::new(&service, true), "super"));
        let file = syn::parse2(tokens).expect("tonic generates Rust");
        buffer.push_str(&prettyplease::unparse(&file));
    }
}

/// One side of a service: the server's answers are `Masked<Answer>`, by a codec that encodes nothing else.
struct Side<'a> {
    service: &'a Service,
    methods: Vec<SideMethod<'a>>,
}

struct SideMethod<'a> {
    method: &'a Method,
    masked: bool,
}

impl<'a> Side<'a> {
    fn new(service: &'a Service, masked: bool) -> Self {
        let methods = service.methods.iter().map(|method| SideMethod { method, masked }).collect();
        Self { service, methods }
    }
}

impl<'a> tonic_build::Service for Side<'a> {
    type Comment = String;
    type Method = SideMethod<'a>;

    fn name(&self) -> &str {
        &self.service.name
    }

    fn package(&self) -> &str {
        &self.service.package
    }

    fn identifier(&self) -> &str {
        &self.service.proto_name
    }

    fn methods(&self) -> &[Self::Method] {
        &self.methods
    }

    fn comment(&self) -> &[Self::Comment] {
        &self.service.comments.leading
    }
}

impl tonic_build::Method for SideMethod<'_> {
    type Comment = String;

    fn name(&self) -> &str {
        &self.method.name
    }

    fn identifier(&self) -> &str {
        &self.method.proto_name
    }

    fn codec_path(&self) -> &str {
        if self.masked { "crate::codec::MaskedCodec" } else { "tonic_prost::ProstCodec" }
    }

    fn client_streaming(&self) -> bool {
        self.method.client_streaming
    }

    fn server_streaming(&self) -> bool {
        self.method.server_streaming
    }

    fn comment(&self) -> &[Self::Comment] {
        &self.method.comments.leading
    }

    fn deprecated(&self) -> bool {
        self.method.options.deprecated()
    }

    fn request_response_name(&self, proto_path: &str, _compile_well_known_types: bool) -> (TokenStream, TokenStream) {
        // `google.protobuf.Empty` is Rust's own unit.
        let path = |rust_type: &str| -> TokenStream {
            let path = if rust_type == "()" { rust_type.to_owned() } else { format!("{proto_path}::{rust_type}") };
            path.parse().expect("prost names types by Rust paths")
        };
        let request = path(&self.method.input_type);
        let response = path(&self.method.output_type);
        let response = if self.masked { quote!(::quintile_domain::masking::Masked<#response>) } else { response };
        (request, response)
    }
}
