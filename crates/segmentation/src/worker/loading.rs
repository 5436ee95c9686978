//! Loading a population: from the blocks of columns that are kept, and from records where none is or where they have changed since.

use super::keeping::{Keeping, Plan};
use super::{RECORDS, refused};
use crate::engine::{BLOCK_CUSTOMERS, Bitmap, block_of};
use crate::own_fields::{self, OwnField};
use crate::population::Population;
use crate::population::blocks::{KeptBlock, layout};
use crate::population::definition::{self, Definition};
use crate::store::{self, column_blocks, definitions, lists};
use futures::{StreamExt, stream};
use prost::Message;
use quintile_chain::context::{Runtime, WorkError};
use quintile_chain::feed;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::policy::Tenant;
use quintile_store::follower::{self, Place};
use quintile_store::records;
use quintile_store::{Database, StoreError};
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::io::Read;

/// Blocks that are read and decoded while others are taken in.
const AHEAD: usize = 3;
/// Records of touched customers that are read at once.
const TOUCHED_AT_ONCE: usize = 2_000;
/// The most bytes of a block: what all its customers can have in as many fields as there can be.
const MAX_BLOCK_BYTES: u64 = 256 << 20;

/// A population as it is written down, and what of it is kept by column.
pub async fn load(
    runtime: &Runtime,
    tenant: &Tenant,
    place: &Place,
    written: Instant,
) -> Result<(Population, Keeping), WorkError> {
    let reader = runtime.database.reader();
    let mut population = Population::new(tenant).map_err(|error| refused(&error))?;
    population.begin_at(Instant::from_micros(place.time_micros).max(written));
    let known = store::own_fields::all(reader, tenant.id).await?;
    population.know(known.clone()).map_err(|error| refused(&error))?;
    let kept = of_this_layout(runtime, tenant, place).await?;
    let (mut keeping, plan) = Keeping::new(kept, &column_blocks::touched(reader, tenant.id).await?);
    let last = records::last(reader, tenant.id).await?;
    if let Some(last) = u32::try_from(last).ok().filter(|last| *last > 0) {
        // All at once: columns that grow block by block are copied as often.
        population.reserve(last).map_err(|error| refused(&error))?;
        load_blocks(runtime, tenant.id, &mut population, (&mut keeping, &plan, block_of(last))).await?;
    }
    load_touched(runtime, tenant.id, &mut population, &plan.touched).await?;
    population.rebalance();
    discover(runtime, tenant, place, (&known, population.own_fields())).await?;
    define(runtime, tenant, &mut population).await?;
    Ok((population, keeping))
}

/// The blocks that are of use here, with their steps. Others are forgotten: nobody writes down any more who is touched of them, so that whoever could
/// use them must not find them again.
async fn of_this_layout(runtime: &Runtime, tenant: &Tenant, place: &Place) -> Result<Vec<(u32, i64)>, WorkError> {
    let layout = layout(tenant);
    let kept = column_blocks::steps(runtime.database.reader(), tenant.id).await?;
    let (ours, others): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(_, other, _)| *other == layout);
    if !others.is_empty() {
        let transaction = runtime.database.begin().await?;
        follower::hold(&transaction, tenant.id, RECORDS, place).await?;
        let others: Vec<u32> = others.into_iter().map(|(block, ..)| block).collect();
        column_blocks::forget(&transaction, tenant.id, &others).await?;
        transaction.commit().await.map_err(StoreError::from)?;
    }
    Ok(ours.into_iter().map(|(block, _, step)| (block, step)).collect())
}

/// What is read of a block.
enum Content {
    Columns(Box<KeptBlock>),
    Records(Vec<CustomerRecord>),
    /// What is kept can't be read; its records can.
    Broken,
}

/// Loads all blocks up to the last one.
async fn load_blocks(
    runtime: &Runtime,
    tenant: TenantId,
    population: &mut Population,
    (keeping, plan, last): (&mut Keeping, &Plan, u32),
) -> Result<(), WorkError> {
    let kept: HashSet<u32> = plan.kept.iter().copied().collect();
    let read = |block: u32| {
        let (database, is_kept) = (runtime.database.clone(), kept.contains(&block));
        let reading = tokio::spawn(read(database, tenant, block, is_kept));
        async move { (block, reading.await.unwrap_or(Err(StoreError::Panicked))) }
    };
    let mut reading = stream::iter(0..=last).map(read).buffered(AHEAD);
    while let Some((block, content)) = reading.next().await {
        let taken_in = match content? {
            Content::Columns(columns) => population.put_kept(block, *columns).is_ok(),
            Content::Records(records) => {
                take(population, records)?;
                true
            }
            Content::Broken => false,
        };
        if !taken_in {
            tracing::warn!(block, "a block of columns can't be read; its records are");
            keeping.lose(block);
            if let Content::Records(records) = read_records(&runtime.database, tenant, block).await? {
                take(population, records)?;
            }
        }
    }
    Ok(())
}

async fn read(database: Database, tenant: TenantId, block: u32, is_kept: bool) -> Result<Content, StoreError> {
    if !is_kept {
        return read_records(&database, tenant, block).await;
    }
    let Some(body) = column_blocks::body(database.reader(), tenant, block).await? else { return Ok(Content::Broken) };
    let columns = zstd::stream::read::Decoder::new(body.as_slice()).and_then(|decoder| {
        let mut bytes = Vec::new();
        decoder.take(MAX_BLOCK_BYTES).read_to_end(&mut bytes)?;
        Ok(KeptBlock::decode(bytes.as_slice())?)
    });
    Ok(columns.map_or(Content::Broken, |columns| Content::Columns(Box::new(columns))))
}

async fn read_records(database: &Database, tenant: TenantId, block: u32) -> Result<Content, StoreError> {
    let first = block * BLOCK_CUSTOMERS;
    let rows = records::range(database.reader(), tenant, first..first.saturating_add(BLOCK_CUSTOMERS)).await?;
    let records = rows.iter().filter(|row| !row.is_tombstone()).map(feed::decode).collect::<Result<_, _>>()?;
    Ok(Content::Records(records))
}

/// Takes records in as they are.
fn take(population: &mut Population, records: Vec<CustomerRecord>) -> Result<(), WorkError> {
    // What an earlier release took in may have what it could not tell as a field.
    let found = own_fields::unknown(&records, population.own_fields());
    if !found.is_empty() {
        population.know(found).map_err(|error| refused(&error))?;
    }
    for record in records {
        let entry = population.entry(record);
        population.take(&entry, &[]).map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// Reads those anew who were touched since their block was kept.
async fn load_touched(
    runtime: &Runtime,
    tenant: TenantId,
    population: &mut Population,
    touched: &RoaringBitmap,
) -> Result<(), WorkError> {
    let customers: Vec<u32> = touched.iter().collect();
    for customers in customers.chunks(TOUCHED_AT_ONCE) {
        let ids: Vec<_> = customers.iter().copied().map(CustomerId).collect();
        let rows = records::load(runtime.database.reader(), tenant, &ids).await?;
        let rows: Vec<_> = rows.iter().filter(|row| !row.is_tombstone()).collect();
        let there: HashSet<u32> = rows.iter().map(|row| row.customer.0).collect();
        for customer in customers.iter().filter(|customer| !there.contains(customer)) {
            population.remove_customer(*customer, &[]).map_err(|error| refused(&error))?;
        }
        take(population, rows.into_iter().map(feed::decode).collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

/// Writes down what a load has made known beyond what was.
async fn discover(
    runtime: &Runtime,
    tenant: &Tenant,
    place: &Place,
    (known, fields): (&[OwnField], &[OwnField]),
) -> Result<(), WorkError> {
    let found: Vec<OwnField> = fields.iter().filter(|field| !known.contains(field)).cloned().collect();
    if !found.is_empty() {
        let transaction = runtime.database.begin().await?;
        follower::hold(&transaction, tenant.id, RECORDS, place).await?;
        store::own_fields::write(&transaction, tenant.id, &found).await?;
        transaction.commit().await.map_err(StoreError::from)?;
    }
    Ok(())
}

/// Puts what is written down of segments and label sets in place.
async fn define(runtime: &Runtime, tenant: &Tenant, population: &mut Population) -> Result<(), WorkError> {
    let stored = definitions::all(runtime.database.reader(), tenant.id).await?;
    let mut lists = lists::all(runtime.database.reader(), tenant.id).await?;
    let mut live = Vec::new();
    for definition in &stored {
        let Definition { key, version, live: Some(body), .. } = definition else { continue };
        let listed = if definition.is_list() { lists.remove(&key.id).unwrap_or_default() } else { Bitmap::new() };
        if let Some(membership) = body.membership(population.schema(), listed) {
            live.push(definition::live(key, *version, body, membership));
        } else {
            tracing::error!(definition = %key, "a stored rule no longer parses; the definition is not live");
        }
    }
    population.define(stored, live).map_err(|error| refused(&error))
}
