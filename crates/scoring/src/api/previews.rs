//! Dry runs: what a version would mean for all customers.

use super::check_rights;
use super::score_models::{message, version_in};
use super::versions;
use crate::fitting::{self, Stopped};
use crate::models::{At, Definition, Dimension, RFM, Scale};
use crate::population::dry_run::{self, Counts, DimensionCounts, GradeCounts, Scores};
use crate::population::{Population, features_of};
use crate::store::fits::Stored;
use crate::store::models::{self, Version};
use crate::value::encoding::model_of;
use crate::worker::conventions;
use crate::{Service, refused};
use quintile_chain::listening::{self, Listener};
use quintile_chain::store_error;
use quintile_domain::time::Instant;
use quintile_proto::scoring::{
    CustomerCells, DimensionPreview, GradePreview, PreviewProgress, PreviewScoreModelVersionRequest,
    PreviewScoreModelVersionResponse, PreviewSummary, ScoreCell, ScoreCounts, ScoreModelPreview, ScoreModelState,
    ScoreMove, ValueModel,
};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, records};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// The cells of one response.
const CELLS_PER_PART: usize = 1 << 20;

/// What a dry run is of.
struct Everybody {
    population: OwnedMutexGuard<Population>,
    /// Of the feed that was read.
    position: i64,
    as_of: Instant,
    in_force: Option<Version>,
    /// The name of the model of lifetime value.
    value_model: String,
}

/// What a dry run has found.
struct Found {
    definition: Definition,
    counts: Counts,
    /// By the version, and by the one in force.
    cells: Option<[Vec<u8>; 2]>,
}

/// Begins a dry run; whoever stops reading ends it.
pub async fn preview(
    service: Service,
    caller: Caller,
    request: PreviewScoreModelVersionRequest,
) -> Result<AnswerStream<PreviewScoreModelVersionResponse>, ApiError> {
    version_in("name", &request.name)?;
    let version = versions::get(&service, &caller, &request.name).await?;
    check_rights(&service, &caller, &version.definition).await?;
    if request.include_cells && version.definition.cells() > 255 {
        return Err(refused("the version has more than 255 cells"));
    }
    caller.is_about(request.name.clone());
    let preview = Preview { service, caller: caller.clone(), version, include_cells: request.include_cells };
    Ok(listening::stream(caller, progress, |listener| preview.run(listener)))
}

fn progress(progress: PreviewProgress) -> PreviewScoreModelVersionResponse {
    PreviewScoreModelVersionResponse { progress: Some(progress), ..Default::default() }
}

struct Preview {
    service: Service,
    caller: Caller,
    version: Version,
    include_cells: bool,
}

impl Preview {
    async fn run(
        self,
        mut listener: Listener<PreviewScoreModelVersionResponse, PreviewProgress>,
    ) -> Result<(), Stopped> {
        let tenant = self.caller.tenant();
        let Everybody { population, position, as_of, in_force, value_model } = self.everybody(&mut listener).await?;
        let is_draft = self.version.state == ScoreModelState::Draft;
        let run = Run {
            population,
            tenant: tenant.clone(),
            as_of,
            definition: self.version.definition.clone(),
            in_force: in_force.as_ref().map(|version| version.definition.clone()),
            find: is_draft,
            include_cells: self.include_cells,
        };
        let found = tokio::task::spawn_blocking(move || run.run()).await;
        let found = found.map_err(|error| Some(ApiError::internal(error.to_string())))?;
        self.check(&found.definition)?;
        let summary = PreviewSummary {
            customers: found.counts.customers,
            changed_customers: found.counts.changed,
            as_of: Some(convert::timestamp(as_of)),
            position,
            dimensions: counts_of(&found.definition, &found.counts),
            value_model,
        };
        listener.check()?;
        let version = if is_draft { self.keep(&found.definition, summary).await? } else { self.version.clone() };
        let preview = self.message(&version, in_force.as_ref(), &found);
        let response = PreviewScoreModelVersionResponse { preview: Some(preview), ..Default::default() };
        listener.send(response).await?;
        let [cells, in_force] = found.cells.unwrap_or_default();
        // Numbers start at 1.
        let mut in_force = in_force.get(1..).unwrap_or_default().chunks(CELLS_PER_PART);
        for (index, part) in cells.get(1..).unwrap_or_default().chunks(CELLS_PER_PART).enumerate() {
            let first_customer_id = (index * CELLS_PER_PART + 1) as i64;
            let cells_in_force = in_force.next().unwrap_or_default().to_vec();
            let cells = Some(CustomerCells { first_customer_id, cells: part.to_vec(), cells_in_force });
            listener.send(PreviewScoreModelVersionResponse { cells, ..Default::default() }).await?;
        }
        Ok(())
    }

    /// The business time that the records are true for.
    fn as_of(&self) -> Instant {
        let watermark = self.service.runtime.progress.of(self.caller.tenant().id).watermark();
        watermark.time.unwrap_or_else(|| self.service.runtime.business.now())
    }

    /// Everybody, and what scores them, as of when the turn has come.
    async fn everybody(
        &self,
        listener: &mut Listener<PreviewScoreModelVersionResponse, PreviewProgress>,
    ) -> Result<Everybody, Stopped> {
        let failed = |error: StoreError| Some(store_error(&error));
        let tenant = self.caller.tenant();
        let database = &self.service.runtime.database;
        let mut population = self.service.populations.of(tenant.id).lock_owned().await;
        let customers = records::last(database.reader(), tenant.id).await.map_err(failed)?;
        let in_force = models::published(database.reader(), tenant.id).await.map_err(failed)?;
        let in_force = in_force.into_iter().find(|version| version.model == self.version.model);
        let as_of = self.as_of();
        let definitions = [Some(&self.version.definition), in_force.as_ref().map(|version| &version.definition)];
        let features = features_of(definitions.into_iter().flatten());
        let mut told = |read: u64| {
            let customers_read = read as i64;
            listener.tell(PreviewProgress { customers_read, customers })
        };
        let valuing = fitting::in_force::<ValueModel>(&self.service, tenant.id).await?;
        let value_model = valuing.as_ref().map(Stored::name).unwrap_or_default();
        let valuing = valuing.and_then(|stored| model_of(&stored.body));
        let at = At::new(as_of, conventions(tenant)).valued_by(valuing.as_ref());
        let position = population.update(database, tenant.id, &features, &at, &mut told).await.map_err(failed)?;
        Ok(Everybody { population, position: position.ok_or(None)?, as_of, in_force, value_model })
    }

    /// A version that scores nobody, or labels that nobody could have, are a mistake.
    fn check(&self, definition: &Definition) -> Result<(), Stopped> {
        let cannot = |dimension: &&Dimension| !dimension.scale.is_ready();
        let without = definition.dimensions.iter().filter(cannot).count();
        match definition.dimensions.iter().find(cannot) {
            Some(first) if self.version.model == RFM || without == definition.dimensions.len() => {
                let problem = format!("nobody has a value of {}, so there are no cut-offs to find", first.name);
                Err(Some(refused(problem)))
            }
            _ => Ok(()),
        }
    }

    /// Keeps a preview with its draft, and the cut-offs that it found.
    async fn keep(&self, definition: &Definition, summary: PreviewSummary) -> Result<Version, Stopped> {
        let failed = |error: StoreError| Some(store_error(&error));
        let (tenant, database) = (self.caller.tenant(), &self.service.runtime.database);
        let transaction = database.begin().await.map_err(failed)?;
        let revision = models::begin_change(&transaction, tenant.id).await.map_err(failed)?;
        let (model, number) = (&self.version.model, self.version.number);
        let found = models::get(&transaction, tenant.id, model, number).await.map_err(failed)?;
        let draft = found.ok_or_else(|| Some(ApiError::not_found()))?;
        if draft.revision != self.version.revision {
            // Published, or previewed by somebody else, while this one went on.
            return Err(Some(ApiError::stale_etag()));
        }
        let version = Version { definition: definition.clone(), preview: Some(summary), revision, ..draft };
        let kept = async {
            models::write(&transaction, tenant, &version).await?;
            Ok(transaction.commit().await?)
        };
        kept.await.map_err(failed)?;
        Ok(version)
    }

    fn message(&self, version: &Version, in_force: Option<&Version>, found: &Found) -> ScoreModelPreview {
        let baseline = in_force.and_then(|version| version.preview.as_ref());
        let dimensions = found.definition.dimensions.iter().zip(&found.counts.dimensions);
        let dimensions = dimensions.map(|(dimension, counts)| {
            let of_dimension = |counts: &&ScoreCounts| counts.dimension == dimension.name;
            let baseline = baseline.and_then(|baseline| baseline.dimensions.iter().find(of_dimension));
            let repeated = match &dimension.scale {
                Scale::Numbers(cut_offs) => cut_offs.repeated(),
                Scale::Texts(_) => 0,
            };
            dimension_message(&dimension.name, counts, baseline, repeated)
        });
        let currency = self.caller.tenant().currency;
        let cells = found.counts.cells.iter().map(|(scores, cell)| ScoreCell {
            scores: scores.iter().map(|score| i32::from(*score)).collect(),
            customers: cell.customers,
            revenue: Some(convert::money(currency, cell.revenue_minor)),
            mean_lifetime_value: cell.mean_value_minor().map(|minor| convert::money(currency, minor)),
        });
        ScoreModelPreview {
            version: Some(message(&self.caller, version)),
            dimensions: dimensions.collect(),
            cells: cells.collect(),
            grades: found.counts.grades.as_ref().map(grades_message),
        }
    }
}

/// A dry run, once everybody is in memory.
struct Run {
    population: OwnedMutexGuard<Population>,
    tenant: Arc<Tenant>,
    as_of: Instant,
    definition: Definition,
    in_force: Option<Definition>,
    /// Whether cut-offs are to be found anew, or stay as they were frozen.
    find: bool,
    include_cells: bool,
}

impl Run {
    fn run(mut self) -> Found {
        let at = At::new(self.as_of, conventions(&self.tenant));
        if self.find {
            dry_run::find_cut_offs(&mut self.definition, &self.population, &at);
        }
        let scores = Scores::new(&self.definition, &self.population, &at);
        let of_other = self.in_force.as_ref().map(|other| Scores::new(other, &self.population, &at));
        let in_force = self.in_force.as_ref().zip(of_other.as_ref());
        let counts = dry_run::count((&self.definition, &scores), in_force, &self.population, &at);
        let present = self.population.present();
        let cells_in_force = in_force.and_then(|(other, scores)| scores.cells(other, present)).unwrap_or_default();
        let cells = scores.cells(&self.definition, present).filter(|_| self.include_cells);
        let cells = cells.map(|cells| [cells, cells_in_force]);
        Found { definition: self.definition, counts, cells }
    }
}

fn counts_of(definition: &Definition, counts: &Counts) -> Vec<ScoreCounts> {
    let each = definition.dimensions.iter().zip(&counts.dimensions);
    let each = each.map(|(dimension, counts)| ScoreCounts {
        dimension: dimension.name.clone(),
        customers: counts.customers.clone(),
    });
    each.collect()
}

fn dimension_message(
    name: &str,
    counts: &DimensionCounts,
    baseline: Option<&ScoreCounts>,
    repeated: usize,
) -> DimensionPreview {
    let stability_index = baseline
        .zip(counts.before.as_ref())
        .and_then(|(baseline, before)| dry_run::stability_index(&baseline.customers, before));
    let moves = counts.moves.iter().map(|((from, to), customers)| ScoreMove {
        from: i32::from(*from),
        to: i32::from(*to),
        customers: *customers,
    });
    DimensionPreview {
        dimension: name.to_owned(),
        customers: counts.customers.clone(),
        repeated_cut_offs: repeated as i32,
        stability_index,
        moves: moves.collect(),
    }
}

fn grades_message(grades: &GradeCounts) -> GradePreview {
    GradePreview {
        composites: grades.composites.clone(),
        bands: grades.bands.clone(),
        tiers: grades.tiers.to_vec(),
        vips: grades.vips,
        ungraded: grades.ungraded,
        changed_customers: grades.changed,
    }
}
