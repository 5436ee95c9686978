//! What people may ask of whoever holds their data. Restriction is here, the other rights in files of their own.

use super::{consents, erasures, export};
use crate::Service;
use crate::store::customers::{self, StoredCustomer};
use crate::store::keys::TenantKeys;
use crate::store::privacy::{self, Hold};
use crate::store::referrals;
use quintile_chain::store_error;
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Masked;
use quintile_proto::ingestion::privacy_service_server::PrivacyService;
use quintile_proto::ingestion::{
    CustomerConsents, EraseCustomerRequest, Erasure, ExportPersonalDataRequest, ExportPersonalDataResponse,
    GetConsentsRequest, GetErasureRequest, LiftRestrictionRequest, ListErasuresRequest, ListErasuresResponse,
    ProcessingRestriction, RestrictProcessingRequest, SetConsentRequest,
};
use quintile_rpc::{Answer, AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, Transaction, feed};
use roaring::RoaringBitmap;
use tonic::{Request, Response, Status};

/// The handlers.
pub struct Privacy {
    pub service: Service,
}

impl Service {
    /// A customer and the keys of its tenant, read for a caller.
    pub(super) async fn customer_of(
        &self,
        caller: &Caller,
        id: CustomerId,
    ) -> Result<(TenantKeys, StoredCustomer), ApiError> {
        let tenant = caller.tenant().id;
        let keys = self.keys.of(tenant).await.map_err(|error| store_error(&error))?;
        let found = customers::get(self.runtime.database.reader(), tenant, &keys, id).await;
        let found = found.map_err(|error| store_error(&error))?.filter(|customer| caller.reaches(&customer.attributes));
        Ok((keys, found.ok_or_else(ApiError::not_found)?))
    }

    /// A transaction in which a caller alone changes customers, with one of them and the keys of its tenant.
    pub(super) async fn alone_with(
        &self,
        caller: &Caller,
        id: CustomerId,
    ) -> Result<(Transaction, TenantKeys, StoredCustomer), ApiError> {
        let tenant = caller.tenant().id;
        let begin = async {
            let keys = self.keys.of(tenant).await?;
            let transaction = self.runtime.database.begin().await?;
            privacy::hold(&transaction, tenant, Hold::Alone).await?;
            let customer = customers::get(&transaction, tenant, &keys, id).await?;
            Ok::<_, StoreError>((transaction, keys, customer))
        };
        let (transaction, keys, customer) = begin.await.map_err(|error| store_error(&error))?;
        let customer = customer.filter(|customer| caller.reaches(&customer.attributes));
        Ok((transaction, keys, customer.ok_or_else(ApiError::not_found)?))
    }

    /// Publishes in a transaction that customers were touched. Returns the position.
    pub(super) async fn touch(
        &self,
        transaction: &Transaction,
        caller: &Caller,
        touched: &RoaringBitmap,
    ) -> Result<i64, StoreError> {
        let tenant = caller.tenant().id;
        let seq = feed::next_seq(transaction, tenant, crate::FACTS).await?;
        feed::publish(transaction, tenant, crate::FACTS, seq, touched).await?;
        Ok(seq)
    }
}

impl Privacy {
    async fn restrict(
        &self,
        caller: &Caller,
        name: &str,
        restricted: bool,
    ) -> Result<Response<Masked<ProcessingRestriction>>, ApiError> {
        let id = convert::customer("name", name, None)?;
        caller.is_about(id.to_string());
        let (transaction, _, customer) = self.service.alone_with(caller, id).await?;
        // Whom it was merged into, if it was.
        let id = customer.id;
        let tenant = caller.tenant().id;
        let since = restricted.then(|| self.service.clock.now());
        let change = async {
            if !customers::restrict(&transaction, tenant, id, since).await? {
                return Ok((customer.restricted_at, feed::head(&transaction, tenant, crate::FACTS).await?));
            }
            let mut touched = referrals::referrers(&transaction, tenant, id).await?;
            touched.insert(id.0);
            let position = self.service.touch(&transaction, caller, &touched).await?;
            transaction.commit().await?;
            self.service.wake.notify_one();
            Ok::<_, StoreError>((since, position))
        };
        let (since, facts_position) = change.await.map_err(|error| store_error(&error))?;
        let restrict_time = since.map(convert::timestamp);
        let view = caller.view_of_reached([(id, &customer.attributes)]);
        Ok(view.respond(ProcessingRestriction { name: name.to_owned(), restricted, restrict_time, facts_position }))
    }
}

#[tonic::async_trait]
impl PrivacyService for Privacy {
    type ExportPersonalDataStream = AnswerStream<ExportPersonalDataResponse>;

    async fn set_consent(&self, request: Request<SetConsentRequest>) -> Answer<CustomerConsents> {
        let caller = Caller::of(&request)?;
        Ok(consents::set(&self.service, &caller, request.into_inner()).await?)
    }

    async fn get_consents(&self, request: Request<GetConsentsRequest>) -> Answer<CustomerConsents> {
        let caller = Caller::of(&request)?;
        Ok(consents::get(&self.service, &caller, &request.get_ref().name).await?)
    }

    async fn restrict_processing(&self, request: Request<RestrictProcessingRequest>) -> Answer<ProcessingRestriction> {
        let caller = Caller::of(&request)?;
        Ok(self.restrict(&caller, &request.get_ref().name, true).await?)
    }

    async fn lift_restriction(&self, request: Request<LiftRestrictionRequest>) -> Answer<ProcessingRestriction> {
        let caller = Caller::of(&request)?;
        Ok(self.restrict(&caller, &request.get_ref().name, false).await?)
    }

    async fn export_personal_data(
        &self,
        request: Request<ExportPersonalDataRequest>,
    ) -> Result<Response<Self::ExportPersonalDataStream>, Status> {
        let caller = Caller::of(&request)?;
        let stream = export::start(self.service.clone(), caller, &request.get_ref().name).await?;
        Ok(Response::new(stream))
    }

    async fn erase_customer(&self, request: Request<EraseCustomerRequest>) -> Answer<Erasure> {
        let caller = Caller::of(&request)?;
        let erasure = erasures::erase(&self.service, &caller, &request.into_inner()).await?;
        Ok(caller.respond(erasure))
    }

    async fn get_erasure(&self, request: Request<GetErasureRequest>) -> Answer<Erasure> {
        let caller = Caller::of(&request)?;
        let erasure = erasures::get(&self.service, &caller, &request.get_ref().name).await?;
        Ok(caller.respond(erasure))
    }

    async fn list_erasures(&self, request: Request<ListErasuresRequest>) -> Answer<ListErasuresResponse> {
        let caller = Caller::of(&request)?;
        let erasures = erasures::list(&self.service, &caller, request.get_ref()).await?;
        Ok(caller.respond(erasures))
    }
}
