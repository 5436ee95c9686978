//! Lists of what customers have: for those alone whom a caller reaches, and what their requests must be.

use quintile_chain::context::Runtime;
use quintile_chain::{feed, store_error};
use quintile_domain::ids::CustomerId;
use quintile_domain::names;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::caller::View;
use quintile_rpc::{ApiError, Caller};
use quintile_store::history::Position;
use quintile_store::{StoreError, records};

/// The most bytes of an assignee.
const MAX_ASSIGNEE_BYTES: usize = 128;
/// The most values of a filter.
const MAX_VALUES: usize = 16;
/// The most rows that a page is looked for among, of a caller that does not reach every customer.
const MAX_LOOKED_AT: u64 = 5_000;
/// What stands for everybody in `parent`.
const EVERYBODY: &str = "customers/-";

/// The customer of something that it has, and where that stands: of `customers/{number}/{collection}/{seq}-{place}`.
pub fn parse_name(field: &str, name: &str, collection: &str) -> Result<(CustomerId, Position), ApiError> {
    let parts = name.split_once(&format!("/{collection}/")).and_then(|(customer, id)| {
        let (seq, place) = id.split_once('-')?;
        let position = Position { seq: names::number(seq)?, place: names::number(place)? };
        Some((CustomerId::from_name(customer, None)?, position))
    });
    parts.ok_or_else(|| ApiError::invalid_field(field, format!("must be customers/{{number}}/{collection}/{{id}}")))
}

/// The customer of `customers/{number}`, or everybody.
pub fn parse_parent(parent: &str) -> Result<Option<CustomerId>, ApiError> {
    if parent == EVERYBODY {
        return Ok(None);
    }
    let customer = CustomerId::from_name(parent, None);
    let wrong = || ApiError::invalid_field("parent", format!("must be customers/{{number}} or {EVERYBODY}"));
    customer.map(Some).ok_or_else(wrong)
}

/// Refuses a number of an enum that is not one of it, or that says nothing.
pub fn check_number<T: TryFrom<i32> + Default + PartialEq>(field: &str, number: i32) -> Result<(), ApiError> {
    match T::try_from(number) {
        Ok(known) if known != T::default() => Ok(()),
        _ => Err(ApiError::invalid_field(field, "must be one of the values of its enum, and not the first")),
    }
}

/// Refuses the same among the values of a filter, and more of them than anybody needs.
pub fn check_numbers<T: TryFrom<i32> + Default + PartialEq>(field: &str, numbers: &[i32]) -> Result<(), ApiError> {
    if numbers.len() > MAX_VALUES {
        return Err(ApiError::invalid_field(field, format!("must have at most {MAX_VALUES} values")));
    }
    let mut numbered = numbers.iter().enumerate();
    numbered.try_for_each(|(index, number)| check_number::<T>(&format!("{field}[{index}]"), *number))
}

/// Refuses an assignee who could be no subject of a token. Empty: nobody.
pub fn check_assignee(assignee: &str) -> Result<(), ApiError> {
    if assignee.is_empty() {
        return Ok(());
    }
    names::required_text(assignee, MAX_ASSIGNEE_BYTES).map_err(|error| ApiError::invalid_text("assignee", error))
}

/// Something that a customer has.
pub trait OfCustomer {
    /// The customer.
    fn customer(&self) -> CustomerId;
}

impl OfCustomer for crate::store::warnings::Stored {
    fn customer(&self) -> CustomerId {
        self.customer
    }
}

impl OfCustomer for crate::store::runs::Stored {
    fn customer(&self) -> CustomerId {
        self.customer
    }
}

impl OfCustomer for crate::store::tasks::Stored {
    fn customer(&self) -> CustomerId {
        self.customer
    }
}

impl OfCustomer for crate::store::grants::Stored {
    fn customer(&self) -> CustomerId {
        self.customer
    }
}

impl OfCustomer for crate::store::deliveries::Stored {
    fn customer(&self) -> CustomerId {
        self.customer
    }
}

/// Those customers of some things who are there and whom a caller reaches.
pub struct Reached {
    /// Their records, by number.
    records: Vec<CustomerRecord>,
}

impl Reached {
    /// Of some things.
    pub async fn of(runtime: &Runtime, caller: &Caller, items: &[impl OfCustomer]) -> Result<Self, ApiError> {
        let failed = |error: StoreError| store_error(&error);
        let customers: Vec<CustomerId> = items.iter().map(OfCustomer::customer).collect();
        let rows = records::load(runtime.database.reader(), caller.tenant().id, &customers).await.map_err(failed)?;
        let decoded = rows.iter().filter(|row| !row.is_tombstone()).map(feed::decode);
        let mut records = decoded.collect::<Result<Vec<CustomerRecord>, _>>().map_err(failed)?;
        records.retain_mut(|record| caller.reaches(record.attributes.get_or_insert_default()));
        Ok(Self { records })
    }

    /// Whether a customer is among them.
    pub fn has(&self, customer: CustomerId) -> bool {
        self.records.binary_search_by_key(&customer.as_i64(), |record| record.customer_id).is_ok()
    }

    /// The caller's view of them.
    pub fn view(&self, caller: &Caller) -> View {
        feed::view_of(caller, &self.records)
    }
}

/// A page, for those who are reached.
pub struct Page<T, E> {
    /// What is on it.
    pub items: Vec<T>,
    /// The caller's view of whose it is.
    pub view: View,
    /// Where it ends, if there may be more.
    pub end: Option<E>,
}

/// A page of things, behind the end of another, of which `read` reads up to so many in their order. Of a caller that does not reach every customer it is
/// looked for among more of them, so that how many others have is not told by where pages end.
pub async fn page<T, E, F, Fut>(
    runtime: &Runtime,
    caller: &Caller,
    behind: E,
    size: u64,
    read: F,
) -> Result<Page<T, E>, ApiError>
where
    T: OfCustomer,
    E: Copy,
    F: Fn(E, u64) -> Fut,
    Fut: Future<Output = Result<Vec<(E, T)>, StoreError>>,
{
    let part = if caller.scope().is_none() { size } else { MAX_LOOKED_AT / 5 };
    let (mut on_page, mut records) = (Vec::new(), Vec::new());
    let mut end = Some(behind);
    let mut looked_at = 0;
    while let Some(behind) = end.filter(|_| looked_at == 0 || (part > size && looked_at < MAX_LOOKED_AT)) {
        let found = read(behind, part).await.map_err(|error| store_error(&error))?;
        looked_at += part;
        end = found.last().map(|(end, _)| *end).filter(|_| found.len() as u64 == part);
        let (ends, items): (Vec<E>, Vec<T>) = found.into_iter().unzip();
        let reached = Reached::of(runtime, caller, &items).await?;
        for (item_end, item) in ends.into_iter().zip(items).filter(|(_, item)| reached.has(item.customer())) {
            if on_page.len() as u64 == size {
                break;
            }
            on_page.push(item);
            if on_page.len() as u64 == size {
                end = Some(item_end);
            }
        }
        records.extend(reached.records);
        if on_page.len() as u64 == size {
            break;
        }
    }
    records.sort_by_key(|record| record.customer_id);
    records.dedup_by_key(|record| record.customer_id);
    Ok(Page { items: on_page, view: feed::view_of(caller, &records), end })
}
