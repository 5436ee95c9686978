//! Who may see what, for the people who say so: explained, previewed, published, revoked.

use crate::commands::CallerArgs;
use crate::config::{Config, Role};
use crate::output::{self, Format, read_json, table};
use crate::remote::{Session, connect};
use anyhow::Context;
use clap::{ArgGroup, Subcommand};
use quintile_proto::access::policy_service_client::PolicyServiceClient;
use quintile_proto::access::revocation::Target;
use quintile_proto::access::revocation_service_client::RevocationServiceClient;
use quintile_proto::access::signing_key_service_client::SigningKeyServiceClient;
use quintile_proto::access::{
    CreateRevocationRequest, ExplainAccessRequest, PolicyImpact, PreviewPolicyRequest, PublishPolicyRequest,
    Revocation, RotateSigningKeyRequest,
};
use quintile_proto::types::{CustomerAttributes, Purpose};
use quintile_rpc::client::purpose_name;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Tells why a role sees a field as it does, and whether it may call a method
    Explain {
        /// The role
        #[arg(value_name = "ROLE")]
        of_role: String,
        /// A field, such as quintile.ingestion.v1.Customer.phone
        #[arg(long, default_value = "")]
        field: String,
        /// A method, such as quintile.ingestion.v1.CustomerService/GetCustomer
        #[arg(long, default_value = "")]
        method: String,
        /// The purpose that the call states: marketing, profiling, analytics, support or `third_party`
        #[arg(long)]
        purpose: Option<String>,
        /// Who would call
        #[arg(long, default_value = "")]
        subject: String,
        /// Who looks after the customer
        #[arg(long, default_value = "")]
        owner: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells who would gain and lose what by a file of roles, and changes nothing
    Preview {
        /// A JSON file: {"roles": [...]}, all roles that the tenant makes for itself
        file: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts a file of roles in force
    Publish {
        /// A JSON file: {"roles": [...]}, all roles that the tenant makes for itself
        file: PathBuf,
        /// Why
        #[arg(long, default_value = "")]
        comment: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Revokes tokens: one, or all that a subject has
    #[command(group(ArgGroup::new("tokens").required(true).args(["token_id", "subject"])))]
    Revoke {
        /// The token's id, its `jti`
        #[arg(long)]
        token_id: Option<String>,
        /// Whose tokens
        #[arg(long)]
        subject: Option<String>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Has tokens signed by a fresh key; those that were signed by the one before stay good to their end
    RotateSigningKey {
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Runs a command.
pub async fn run(command: AccessCommand) -> anyhow::Result<()> {
    match command {
        AccessCommand::Explain { of_role: role, field, method, purpose, subject, owner, caller } => {
            let customer = CustomerAttributes { owner, ..CustomerAttributes::default() };
            let purpose = purpose.as_deref().map(read_purpose).transpose()?.unwrap_or_default();
            let request = ExplainAccessRequest {
                role,
                field,
                method,
                purpose: purpose.into(),
                subject,
                customer: Some(customer),
                ..ExplainAccessRequest::default()
            };
            explain(request, &caller).await
        }
        AccessCommand::Preview { file, caller } => {
            let (config, session) = caller.session().await?;
            let impact = impact(&config, &session, read_roles(&file)?).await?;
            print_impact(&impact, caller.output)
        }
        AccessCommand::Publish { file, comment, caller } => publish(&file, comment, &caller).await,
        AccessCommand::Revoke { token_id, subject, caller } => {
            let target = token_id.map(Target::TokenId).or(subject.map(Target::Subject));
            revoke(Revocation { target, ..Revocation::default() }, &caller).await
        }
        AccessCommand::RotateSigningKey { caller } => {
            let (config, session) = caller.session().await?;
            let mut client = SigningKeyServiceClient::new(connect(&config, Role::AccessControl)?);
            let request = session.request(RotateSigningKeyRequest::default());
            let key = client.rotate_signing_key(request).await?.into_inner();
            say!("{}", output::json(&key, "quintile.access.v1.SigningKey")?);
            Ok(())
        }
    }
}

async fn explain(request: ExplainAccessRequest, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = PolicyServiceClient::new(connect(&config, Role::AccessControl)?);
    let explanation = client.explain_access(session.request(request)).await?.into_inner();
    if caller.output == Format::Json {
        say!("{}", output::json(&explanation, "quintile.access.v1.AccessExplanation")?);
        return Ok(());
    }
    let form = explanation.form().as_str_name().trim_start_matches("MASK_FORM_").to_lowercase();
    let class = explanation.field_class().as_str_name().trim_start_matches("SENSITIVITY_").to_lowercase();
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut rows = Vec::new();
    if let Some(may_call) = explanation.may_call {
        rows.push(vec!["may call".to_owned(), yes(may_call)]);
    }
    rows.push(vec!["reaches the customer".to_owned(), yes(explanation.reaches_customer)]);
    if explanation.field_class != 0 {
        rows.push(vec!["class of the field".to_owned(), class]);
        rows.push(vec!["seen".to_owned(), form]);
        rows.push(vec!["usable in queries".to_owned(), yes(explanation.usable_in_queries)]);
    }
    rows.push(vec!["why".to_owned(), explanation.reasons.join("\n")]);
    say!("{}", table(&["", "by this policy"], false, rows));
    Ok(())
}

async fn impact(config: &Config, session: &Session, roles: PreviewPolicyRequest) -> anyhow::Result<PolicyImpact> {
    let mut client = PolicyServiceClient::new(connect(config, Role::AccessControl)?);
    Ok(client.preview_policy(session.request(roles)).await?.into_inner())
}

fn print_impact(impact: &PolicyImpact, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        say!("{}", output::json(impact, "quintile.access.v1.PolicyImpact")?);
        return Ok(());
    }
    let rows = impact.roles.iter().map(|role| {
        let forms = role
            .forms
            .iter()
            .map(|form| form.sensitivity().as_str_name().trim_start_matches("SENSITIVITY_").to_lowercase());
        vec![
            role.role.clone(),
            role.change().as_str_name().trim_start_matches("ROLE_CHANGE_").to_lowercase(),
            role.methods_gained.join("\n"),
            role.methods_lost.join("\n"),
            forms.collect::<Vec<_>>().join("\n"),
            if role.row_scope_before == role.row_scope_after { String::new() } else { role.row_scope_after.clone() },
            role.principals.to_string(),
        ]
    });
    let header = ["role", "change", "gains", "loses", "seen otherwise", "new row scope", "principals"];
    say!("{}", table(&header, false, rows.collect()));
    Ok(())
}

async fn publish(file: &Path, comment: String, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let roles = read_roles(file)?;
    let impact = impact(&config, &session, roles.clone()).await?;
    print_impact(&impact, caller.output)?;
    let request = PublishPolicyRequest { roles: roles.roles, comment, expected_version: impact.present_version };
    let mut client = PolicyServiceClient::new(connect(&config, Role::AccessControl)?);
    let version = client.publish_policy(session.request(request)).await?.into_inner();
    say!("{} is in force", version.name);
    Ok(())
}

async fn revoke(revocation: Revocation, caller: &CallerArgs) -> anyhow::Result<()> {
    let (config, session) = caller.session().await?;
    let mut client = RevocationServiceClient::new(connect(&config, Role::AccessControl)?);
    let request = session.request(CreateRevocationRequest { revocation: Some(revocation) });
    say!("{}", client.create_revocation(request).await?.into_inner().name);
    Ok(())
}

/// The roles of a file in protobuf's JSON.
fn read_roles(file: &Path) -> anyhow::Result<PreviewPolicyRequest> {
    read_json(file, "quintile.access.v1.PreviewPolicyRequest", "{\"roles\": [...]}")
}

fn read_purpose(name: &str) -> anyhow::Result<Purpose> {
    let purposes = (1..).map_while(|number| Purpose::try_from(number).ok());
    let found = purposes.into_iter().find(|purpose| purpose_name(*purpose) == Some(name));
    found.context("--purpose must be marketing, profiling, analytics, support or third_party")
}
