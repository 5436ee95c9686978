//! The copies of the checkpoints that were signed.

use super::Store;
use super::entities::{checkpoint_head, signed_checkpoint};
use quintile_domain::time::Instant;
use quintile_proto::audit::AuditCheckpoint;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::{Result, Transaction};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement,
};

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Signed {
    /// It is kept; or the one that was signed of this head before is, and is given out again.
    Kept(AuditCheckpoint),
    /// It lies before the last one.
    Behind,
    /// The last one has another hash in its place.
    Forked,
}

impl Store {
    /// Keeps a checkpoint, unless it contradicts the last one of its log.
    pub async fn keep_signed(&self, tenant: &Tenant, checkpoint: AuditCheckpoint) -> Result<Signed> {
        let transaction = self.database.begin().await?;
        let (seq, hash) = lock_head(&transaction, &checkpoint.service, tenant.id.0).await?;
        if checkpoint.seq < seq {
            return Ok(Signed::Behind);
        }
        if checkpoint.seq == seq {
            if checkpoint.hash != hash {
                return Ok(Signed::Forked);
            }
            let key = (checkpoint.service.clone(), tenant.id.0, seq);
            let row = signed_checkpoint::Entity::find_by_id(key).one(&transaction).await?;
            let row = row.ok_or_else(|| sea_orm::DbErr::RecordNotFound("signed checkpoint".to_owned()))?;
            return Ok(Signed::Kept(message(row, tenant)));
        }
        let row = signed_checkpoint::ActiveModel {
            service: Set(checkpoint.service.clone()),
            tenant_id: Set(tenant.id.0),
            seq: Set(checkpoint.seq),
            hash: Set(checkpoint.hash.clone()),
            at_micros: Set(convert::sent_instant(checkpoint.time.as_ref()).unwrap_or_default().micros()),
            kid: Set(checkpoint.kid.clone()),
            public_x: Set(checkpoint.public_x.clone()),
            signature: Set(checkpoint.signature.clone()),
        };
        signed_checkpoint::Entity::insert(row).exec_without_returning(&transaction).await?;
        checkpoint_head::Entity::update_many()
            .col_expr(checkpoint_head::Column::Seq, Expr::value(checkpoint.seq))
            .col_expr(checkpoint_head::Column::Hash, Expr::value(checkpoint.hash.clone()))
            .filter(checkpoint_head::Column::Service.eq(checkpoint.service.as_str()))
            .filter(checkpoint_head::Column::TenantId.eq(tenant.id.0))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(Signed::Kept(checkpoint))
    }

    /// The checkpoints of a service's log of a tenant behind a place, by place.
    pub async fn signed(&self, service: &str, tenant: &Tenant, after: i64, limit: u64) -> Result<Vec<AuditCheckpoint>> {
        let rows = signed_checkpoint::Entity::find()
            .filter(signed_checkpoint::Column::Service.eq(service))
            .filter(signed_checkpoint::Column::TenantId.eq(tenant.id.0))
            .filter(signed_checkpoint::Column::Seq.gt(after))
            .order_by_asc(signed_checkpoint::Column::Seq)
            .limit(limit)
            .all(self.database.reader())
            .await?;
        Ok(rows.into_iter().map(|row| message(row, tenant)).collect())
    }
}

/// The last checkpoint of a log, whose row stays locked to the end of the transaction: two are never signed at once.
async fn lock_head(transaction: &Transaction, service: &str, tenant: i32) -> Result<(i64, Vec<u8>)> {
    let statement = Statement::from_sql_and_values(
        transaction.get_database_backend(),
        "INSERT INTO checkpoint_head (service, tenant_id, seq, hash) VALUES ($1, $2, 0, $3) \
         ON CONFLICT (service, tenant_id) DO UPDATE SET seq = checkpoint_head.seq RETURNING seq, hash",
        [service.into(), tenant.into(), Vec::<u8>::new().into()],
    );
    let row = transaction.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| sea_orm::DbErr::RecordNotFound("checkpoint head".to_owned()))?;
    Ok((row.try_get("", "seq")?, row.try_get("", "hash")?))
}

fn message(row: signed_checkpoint::Model, tenant: &Tenant) -> AuditCheckpoint {
    AuditCheckpoint {
        service: row.service,
        tenant: tenant.name.clone(),
        seq: row.seq,
        hash: row.hash,
        time: Some(convert::timestamp(Instant::from_micros(row.at_micros))),
        kid: row.kid,
        public_x: row.public_x,
        signature: row.signature,
    }
}
